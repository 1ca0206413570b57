"""The client alone: its size without torch, the time to start it, and the time to encode a photo.

In: this checkout, installed as a wheel in a new environment, and one photo. Out: `client.json`, `client.md`. Times
are those of whole processes. The first run of each is dropped, so that files and bytecode are in memory; the best of
the others and their median are kept.

    python -m benchmarks.speed.client
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.render.pages import write

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "samples" / "lake-sherburne.jpg"
TOOLS = {"pip", "setuptools", "wheel"}
"""Packages of a new environment before anything is installed."""

_PACKAGES = """
import json
from importlib.metadata import distributions
from pathlib import Path
rows = []
for one in distributions():
    files = [Path(str(one.locate_file(file))) for file in one.files or []]
    size = sum(file.stat().st_size for file in files if file.is_file())
    rows.append({"name": one.metadata["Name"], "version": one.version, "bytes": size})
print(json.dumps(rows))
"""
_START = {
    "the interpreter alone": "pass",
    "import bbmr_client": "import bbmr_client",
    "import bbmr_client.pillow": "import bbmr_client.pillow",
    "from bbmr_client import encode": "from bbmr_client import encode",
    "from bbmr_client import Client": "from bbmr_client import Client",
}


def main(
    photo: Annotated[Path, typer.Argument(help="A photo to encode.")] = PHOTO,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = ROOT / "docs" / "benchmarks",
    runs: Annotated[int, typer.Option(help="Runs per time.")] = 11,
) -> None:
    """Measure, print and write."""
    folder = Path(tempfile.mkdtemp(prefix="bbmr-client-"))
    try:
        wheel = build_wheel(folder)
        python = install(folder, wheel)
        results = {
            "wheel": contents(wheel),
            "installed": installed(python),
            **times(python, photo, folder, runs),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(write(output, "client", results))


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout."""
    made = folder / "wheels"
    run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(made), str(ROOT)])
    (wheel,) = made.glob("*.whl")
    return wheel


def install(folder: Path, wheel: Path) -> Path:
    """Make an environment with the base install in the versions of the lock file; returns its interpreter."""
    run([sys.executable, "-m", "venv", str(folder / "venv")])
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run([str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "requirements.lock"), str(wheel)])
    return python


def contents(wheel: Path) -> dict[str, Any]:
    """Return the bytes of the wheel and of its top-level packages unpacked, and which packages are marked as typed."""
    with zipfile.ZipFile(wheel) as archive:
        files = archive.infolist()
    packages: dict[str, int] = {}
    for file in files:
        top = file.filename.partition("/")[0]
        packages[top] = packages.get(top, 0) + file.file_size
    typed = sorted(
        name.partition("/")[0] for name in (file.filename for file in files) if name.endswith("/py.typed")
    )
    return {"bytes": wheel.stat().st_size, "packages": packages, "typed": typed}


def installed(python: Path) -> dict[str, Any]:
    """Return every package of an environment with its bytes (with bytecode), and whether torch is among them."""
    rows = json.loads(run([str(python), "-c", _PACKAGES]))
    rows = sorted((row for row in rows if row["name"].lower() not in TOOLS), key=lambda row: -row["bytes"])
    return {
        "bytes": sum(row["bytes"] for row in rows),
        "packages": rows,
        "has_torch": any(row["name"].lower() == "torch" for row in rows),
    }


def times(python: Path, photo: Path, folder: Path, runs: int) -> dict[str, Any]:
    """Return the seconds of starting and of encoding `photo`, each in a process of its own."""
    client = str(python.with_name("bbmr-client"))
    commands = {name: [str(python), "-c", code] for name, code in _START.items()}
    commands["bbmr-client --help"] = [client, "--help"]
    packed = str(folder / "photo.bbmr")
    encode = [client, "encode", str(photo), "-o", packed, "--json"]
    rows = [{"what": name, **seconds(command, runs)} for name, command in commands.items()]
    report = json.loads(run(encode))
    within = [json.loads(run(encode))["seconds"] for _ in range(runs)]
    return {
        "start": rows,
        "encode": {
            "photo": photo.name,
            "megapixels": round(report["width"] * report["height"] / 1e6, 3),
            "bytes": report["bytes"],
            "process": seconds(encode, runs),
            "encoding": {"best": min(within), "median": statistics.median(within)},
        },
    }


def seconds(command: list[str], runs: int) -> dict[str, float]:
    """Return the best and median wall time of a command, without its first run."""
    times_s = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        run(command)
        times_s.append(time.perf_counter() - began)
    return {"best": round(min(times_s[1:]), 3), "median": round(statistics.median(times_s[1:]), 3)}


def run(command: list[str]) -> str:
    """Return the output of a command. It runs outside the checkout, so that nothing is imported from there."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BBMR_"))
    }
    done = subprocess.run(
        command, cwd=tempfile.gettempdir(), env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


if __name__ == "__main__":
    typer.run(main)
