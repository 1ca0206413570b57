"""Run a built image as `docker-compose.yml` does, without an engine: an `Image` in, a process out.

The process has the image's files read-only, a private /tmp and /dev, a writable folder where a volume would be, the
image's user and variables, no capabilities and no way to new ones. It shares the machine's network, so a server inside
is reached on loopback. What an engine adds (limits, `init`, a network of its own) is not there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.docker.builder import Image

# $1: the image's files; $2: uid:gid; $3: working folder; $4: FROM:TO mounts, a line each; then `env`'s arguments.
SCRIPT = r"""
set -eu
root=$1 user=$2 folder=$3 mounts=$4
shift 4
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=256m tmpfs "$root/tmp"
mount -t tmpfs -o nosuid,mode=755 tmpfs "$root/dev"
for name in null zero full random urandom; do
  : > "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
mount -o remount,ro "$root/dev"
mount -t proc -o ro,nosuid,nodev,noexec proc "$root/proc"
printf '%s\n' "$mounts" | while IFS=: read -r from to mode; do
  [ -n "$from" ] || continue
  mount --bind "$from" "$root$to"
  [ "$mode" = rw ] || mount -o remount,bind,ro "$root$to"
done
exec chroot --userspec="$user" "$root" /usr/bin/env --ignore-environment --chdir="$folder" "$@"
"""


def start(
    image: Image,
    command: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    volumes: Sequence[tuple[Path, str, str]] = (),
) -> subprocess.Popen[str]:
    """Start `command` (nothing: what the image itself starts) with its standard streams as pipes.

    `volumes` are (folder here, folder inside, "ro" or "rw"). The process of the returned object is the command itself,
    so a signal to it arrives as it does with an engine.
    """
    config = image.config
    for _, inside, _ in volumes:
        (image.root / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)
    mounts = "\n".join(f"{here}:{inside}:{mode}" for here, inside, mode in volumes)
    settings = [f"{name}={value}" for name, value in (image.environment | dict(variables or {})).items()]
    unshare = ["setpriv", "--no-new-privs", "unshare", "--mount", "--propagation", "private"]
    inside = [str(image.root), config["User"], config["WorkingDir"] or "/", mounts]
    return subprocess.Popen(
        [*unshare, "sh", "-c", SCRIPT, "sh", *inside, *settings, *(command or image.command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(
    image: Image,
    command: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    volumes: Sequence[tuple[Path, str, str]] = (),
    timeout: float = 120,
) -> tuple[int, str]:
    """`start`, and wait: exit status and all output."""
    process = start(image, command, variables, volumes)
    try:
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    return process.returncode, said
