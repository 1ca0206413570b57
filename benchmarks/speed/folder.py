"""A folder of photos, killed half-way and started again: valid outputs, nothing done twice, constant memory.

In: one photo, from which 1,000 crops are made, with one broken file among them. Out: `folder.json`, `folder.md`. The
command runs as a process of its own; SIGKILL hits the parent when half of the outputs exist. Memory is the resident
set in /proc of the parent and of every worker, sampled four times a second.

    python -m benchmarks.speed.folder
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from bbmr_shared.container import Container
from benchmarks.render.pages import write
from benchmarks.service.processes import children, command, resident

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "samples" / "lake-sherburne.jpg"
SIDES = (256, 896)
"""Shortest and longest side of a crop in pixels."""

WARM_UP = 0.1
"""Share of a run, by outputs, after which memory should not grow: every kind of crop has occurred by then."""

_EVERY_S = 0.25
_TIMEOUT_S = 3600.0


def main(
    photo: Annotated[Path, typer.Argument(help="Photo for the crops.")] = PHOTO,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = ROOT / "docs" / "benchmarks",
    count: Annotated[int, typer.Option(help="Crops.")] = 1000,
    jobs: Annotated[int | None, typer.Option(help="Workers. Default: that of the command.")] = None,
) -> None:
    """Measure, check, print and write."""
    folder = Path(tempfile.mkdtemp(prefix="bbmr-folder-"))
    try:
        crops(photo, folder / "photos", count)
        results = measure(folder, count, jobs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(write(output, "folder", {"photo": photo.name, "count": count, **results}))
    if not all(row["holds"] for row in results["checks"]):
        raise typer.Exit(1)


def crops(photo: Path, folder: Path, count: int) -> None:
    """Write `count` different crops, three quarters JPEG and a quarter PNG, in several folders, and one broken file."""
    chance = random.Random(count)
    with Image.open(photo) as image:
        whole = image.convert("RGB")
    for index in range(count):
        width, height = (chance.randint(*SIDES) for _ in range(2))
        left = chance.randint(0, whole.width - width)
        top = chance.randint(0, whole.height - height)
        ending, options = (".png", {"compress_level": 1}) if index % 4 == 0 else (".jpg", {"quality": 90})
        path = folder / f"{index // 100:02}" / f"{index:04}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.crop((left, top, left + width, top + height)).save(path, **options)
    whole_file = (folder / "00" / "0001.jpg").read_bytes()
    (folder / "00" / "0001-broken.jpg").write_bytes(whole_file[: len(whole_file) // 2])


def measure(folder: Path, count: int, jobs: int | None = None) -> dict[str, Any]:
    """Run the command three times (killed, started again, once more) and check what must hold."""
    out, report = folder / "out", folder / "report.csv"
    words = [sys.executable, "-m", "bbmr_client", "encode", str(folder / "photos"), "-o", str(out)]
    words += ["--report", str(report), "--json", "--quiet", *([] if jobs is None else ["--jobs", str(jobs)])]

    killed = Watched(words, out, kill_at=count // 2)
    left = sorted(path.name for path in out.iterdir() if path.name.endswith(".part"))
    before = _facts(out)
    no_report = not report.exists()
    broken = _broken(out)

    again = Watched(words, out)
    rows = list(csv.DictReader(report.open(encoding="utf-8")))
    after = _facts(out)
    totals = again.totals
    good = [row for row in rows if row["outcome"] in ("done", "unchanged")]

    once_more = Watched(words, out)
    runs = {"killed": killed, "started again": again, "once more": once_more}
    rewritten = [name for name in before if after.get(name) != before[name]]
    checks = {
        "outputs at the kill are whole containers": not broken and len(before) >= count // 2,
        "the kill left no report": no_report,
        "all outputs are there and whole containers": len(after) == count and not _broken(out),
        "none of the outputs at the kill was written again": not rewritten,
        "all of them count as done before": totals["unchanged"] == len(before),
        "the second run did the rest and no more": totals["done"] == count - len(before),
        "the broken file alone failed": [row["outcome"] for row in rows].count("failed")
        == totals["failed"]
        == 1,
        "the report has every input once": len({row["path"] for row in rows}) == len(rows) == count + 1,
        "the report's figures are those of the files": all(_is_true(row) for row in good),
        "temporary files are gone": not [path for path in out.rglob("*") if path.name.endswith(".part")],
        "the third run did nothing": once_more.totals["done"] == 0 and once_more.totals["unchanged"] == count,
        "memory of every process stayed within 50 MB": all(
            process["growth_mb"] <= 50 for run in runs.values() for process in run.memory()
        ),
        "no process outlived the kill by a second": killed.outlived_s < 1,
    }
    return {
        "bytes_in": totals["bytes_in"],
        "bytes_out": totals["bytes_out"],
        "at_the_kill": {"outputs": len(before), "temporary_files": len(left)},
        "runs": [
            {"run": name, "seconds": round(run.seconds, 1), "done": run.done, "memory": run.memory()}
            for name, run in runs.items()
        ],
        "checks": [{"check": name, "holds": bool(holds)} for name, holds in checks.items()],
    }


@dataclass
class _Process:
    role: str
    resident: list[tuple[int, float]] = field(default_factory=list)
    """(outputs so far, MB)."""


class Watched:
    """The command as a process, from its start to its end or to SIGKILL at `kill_at` outputs, with memory samples."""

    def __init__(self, words: list[str], out: Path, kill_at: int | None = None) -> None:
        self._processes: dict[int, _Process] = {}
        self._out, self.outlived_s = out, 0.0
        began, before = time.monotonic(), _count(out)
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        answer: list[str] = []
        reader = threading.Thread(target=lambda: answer.append(process.communicate()[0]))
        reader.start()
        while reader.is_alive() and time.monotonic() - began < _TIMEOUT_S:
            outputs = _count(out)
            self._sample(process.pid, outputs)
            if kill_at is not None and outputs >= kill_at:
                self._kill(process)
                break
            reader.join(_EVERY_S)
        reader.join()
        self.seconds = time.monotonic() - began
        self.done = _count(out) - before
        self.totals: dict[str, Any] = json.loads(answer[0]) if kill_at is None else {}

    def memory(self) -> list[dict[str, Any]]:
        """Return the resident MB after the warm-up of every process that lived long enough."""
        rows = []
        for process in self._processes.values():
            outputs = [count for count, _ in process.resident]
            if len(outputs) < 8:
                continue
            # A run that writes nothing has no outputs; its warm-up is the first tenth of the samples.
            skipped = sum(count <= outputs[0] + WARM_UP * (outputs[-1] - outputs[0]) for count in outputs)
            if outputs[-1] == outputs[0]:
                skipped = int(len(outputs) * WARM_UP)
            steady = [megabytes for _, megabytes in process.resident[skipped:]]
            rows.append(
                {
                    "process": process.role,
                    "first_mb": round(steady[0], 1),
                    "least_mb": round(min(steady), 1),
                    "most_mb": round(max(steady), 1),
                    "growth_mb": round(max(steady) - min(steady), 1),
                }
            )
        return rows

    def _kill(self, process: subprocess.Popen[str]) -> None:
        below = children(process.pid)
        process.kill()
        since = time.monotonic()
        while any(resident(pid) is not None for pid in below):
            time.sleep(0.01)
            self.outlived_s = time.monotonic() - since
            if self.outlived_s > 30:
                return

    def _sample(self, pid: int, outputs: int) -> None:
        for one in (pid, *children(pid)):
            megabytes = resident(one)
            if megabytes is None or "resource_tracker" in command(one):  # Python's own process, about 10 MB
                continue
            workers = sum(process.role != "parent" for process in self._processes.values())
            role = "parent" if one == pid else f"worker {workers + 1}"
            self._processes.setdefault(one, _Process(role)).resident.append((outputs, megabytes))


def _count(out: Path) -> int:
    return sum(1 for _ in out.rglob("*.bbmr")) if out.is_dir() else 0


def _facts(out: Path) -> dict[str, tuple[int, str]]:
    """Return output → (time of its last change, digest)."""
    return {
        str(path.relative_to(out)): (path.stat().st_mtime_ns, hashlib.blake2b(path.read_bytes()).hexdigest())
        for path in out.rglob("*.bbmr")
    }


def _broken(out: Path) -> list[str]:
    """Return the outputs that the reader refuses or whose planes do not decode, with the error."""
    broken = []
    for path in out.rglob("*.bbmr"):
        try:
            Container.from_bytes(path.read_bytes()).decode_planes()
        except Exception as error:
            broken.append(f"{path.name}: {error}")
    return broken


def _is_true(row: dict[str, str]) -> bool:
    data = Path(row["output"]).read_bytes()
    container = Container.from_bytes(data)
    size = (str(container.width), str(container.height))
    sizes = (Path(row["path"]).stat().st_size, len(data))
    return (row["width"], row["height"]) == size and (int(row["bytes_in"]), int(row["bytes_out"])) == sizes


if __name__ == "__main__":
    typer.run(main)
