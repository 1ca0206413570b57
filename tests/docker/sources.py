"""Where this machine gets its packages, made known to the RUN steps of a build.

In: what pip is configured for (`pip config list`). Out: a `pip.conf` and a `uv.toml` that say the same, and the
read-only mounts with which a build step sees them, the folders they name, the certificates and the resolver.
Nothing of it stays in an image.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

CERTIFICATES = "/etc/ssl/certs"
RESOLVER = ("/etc/hosts", "/etc/resolv.conf")


@dataclass(frozen=True)
class Sources:
    """pip's settings that decide where packages come from."""

    index: str = ""
    extra: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    certificate: str = ""

    def mounts(self, folder: Path) -> list[str]:
        """Write both files into `folder`; the values of `--volume` that a build step needs."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pip.conf").write_text(self.pip_conf())
        (folder / "uv.toml").write_text(self.uv_toml())
        pairs = {"/etc/pip.conf": folder / "pip.conf", "/etc/uv/uv.toml": folder / "uv.toml"}
        seen = [CERTIFICATES, *RESOLVER, *(str(path) for path in self.folders())]
        if self.certificate:
            seen.append(str(Path(self.certificate).parent))
        pairs |= {path: Path(path) for path in seen if Path(path).exists()}
        return [f"{source}:{target}:ro" for target, source in pairs.items()]

    def folders(self) -> list[Path]:
        """The local folders that are named: of an index, the one above it, because its files may lie beside it."""
        links = [path for path in map(local, self.links) if path]
        indexes = [path.parent for path in map(local, [self.index, *self.extra]) if path]
        return [path for path in dict.fromkeys(links + indexes) if path.is_dir() and path != Path("/")]

    def pip_conf(self) -> str:
        """The settings for pip."""
        lines = ["[global]"]
        if self.index:
            lines.append(f"index-url = {self.index}")
        if self.extra:
            lines.append("extra-index-url = " + " ".join(self.extra))
        if self.links:
            lines.append("find-links = " + " ".join(self.links))
        if self.certificate:
            lines.append(f"cert = {self.certificate}")
        return "\n".join(lines) + "\n"

    def uv_toml(self) -> str:
        """The settings for uv, which then chooses among all sources as pip does."""
        lines = ["native-tls = true", 'index-strategy = "unsafe-best-match"']
        if self.index:
            lines.append(f"index-url = {json.dumps(self.index)}")
        if self.extra:
            lines.append(f"extra-index-url = {json.dumps(self.extra)}")
        if self.links:
            lines.append(f"find-links = {json.dumps(self.links)}")
        return "\n".join(lines) + "\n"


def package_sources() -> Sources:
    """What pip is configured for here; the environment wins over files, as with pip itself."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    files: dict[str, str] = {}
    environment: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in (":env:", "global", "install"):
            (environment if section == ":env:" else files)[key] = str(ast.literal_eval(value))
    found = files | environment
    return Sources(
        index=found.get("index-url", ""),
        extra=found.get("extra-index-url", "").split(),
        links=found.get("find-links", "").split(),
        certificate=found.get("cert", ""),
    )


def local(place: str) -> Path | None:
    """The folder that a path or a `file:` address names; None for anything else."""
    address = urlsplit(place)
    if address.scheme == "file":
        return Path(url2pathname(address.path))
    return Path(place) if place.startswith("/") else None
