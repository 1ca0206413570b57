"""Images without an engine: Dockerfiles in, root file systems and their configuration out, by buildah in chroots.

The base image is a stand-in, because there may be no registry: Debian with Python, made by mmdebstrap and given to the
Dockerfiles through their build argument. So what is proven is what the Dockerfiles add, not the real base.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUITE = "bookworm"
BASE = f"localhost/bbmr-base:{SUITE}"
PACKAGES = "python3,python3-venv,ca-certificates"
NEEDED = ("buildah", "mmdebstrap", "unshare", "setpriv", "chroot")


@dataclass(frozen=True)
class Image:
    """A built image: where its files are, and what its Dockerfile says of running it."""

    name: str
    root: Path
    config: dict[str, Any]
    size: int

    @property
    def command(self) -> list[str]:
        """What an engine would start."""
        return [*(self.config.get("Entrypoint") or []), *(self.config.get("Cmd") or [])]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the image."""
        return dict(pair.split("=", 1) for pair in self.config["Env"])

    def find(self, *patterns: str) -> list[str]:
        """Paths in the image that match, as seen from inside."""
        hits = (path for pattern in patterns for path in self.root.glob(pattern))
        return sorted("/" + str(path.relative_to(self.root)) for path in hits)


class Builder:
    """buildah with a store of its own under `work`; layers are kept there from run to run."""

    def __init__(self, work: Path, mounts: list[str]) -> None:
        self.work = work
        self._mounts = [part for mount in mounts for part in ("--volume", mount)]

    def base(self) -> int:
        """Make the stand-in if it is not there yet; the bytes of its files."""
        if not self._call("images", "--quiet", BASE, check=False).strip():
            self._make_base()
        container = self._call("from", "--pull-never", BASE).strip()
        return size_of(Path(self._call("mount", container).strip()))

    def build(self, name: str, dockerfile: Path, context: Path, **arguments: str) -> tuple[Image, str]:
        """Build `dockerfile`; the image, mounted, and what buildah said on the way."""
        values = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
        said = self._call(
            *("build", "--format", "docker", "--isolation", "chroot", "--layers", "--pull-never"),
            *("--network", "host", *self._mounts, *values),
            *("--tag", f"localhost/{name}", "--file", str(dockerfile), str(context)),
        )
        container = self._call("from", "--pull-never", f"localhost/{name}").strip()
        root = Path(self._call("mount", container).strip())
        config = json.loads(self._call("inspect", "--type", "image", f"localhost/{name}"))["Docker"]["config"]
        return Image(name, root, config, size_of(root)), said

    def close(self) -> None:
        """Unmount and forget the containers; the images stay."""
        self._call("rm", "--all", check=False)

    def _make_base(self) -> None:
        folder = self.work / "base"
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / "base.tar"
        if not archive.exists():
            part = folder / "base.part.tar"
            run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(part))
            part.rename(archive)
        (folder / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        self._call("build", "--isolation", "chroot", "--tag", BASE, str(folder))

    def _call(self, *arguments: str, check: bool = True) -> str:
        store = ("--root", str(self.work / "store"), "--runroot", str(self.work / "run"))
        return run("buildah", *store, *arguments, check=check)


def run(*command: str, check: bool = True) -> str:
    """Standard output of a command; what it said on standard error is shown where it fails."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    if check and result.returncode:
        last = "\n".join((result.stdout + result.stderr).splitlines()[-40:])
        raise RuntimeError(f"{command[0]} {command[-1]} ended with {result.returncode}:\n{last}")
    return result.stdout


def size_of(root: Path) -> int:
    """Bytes on disk of all files below, hard links once."""
    seen: dict[tuple[int, int], int] = {}
    for path in root.rglob("*"):
        status = path.lstat()
        seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())
