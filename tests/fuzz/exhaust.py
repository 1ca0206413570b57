"""Damages three containers of the sample photo everywhere: `python -m tests.fuzz.exhaust [--result docs/benchmarks]`.

Every truncation, random byte changes, and the same changes under right digests are read and decoded in a child process
under the default limits. It prints the outcomes, the slowest step and the most memory of one step, as the kernel counts
it (codecs allocate outside Python). The exit status is 1 if damage gave another picture, or a step took more than
`SECONDS` or `MEGABYTES`.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_shared import Container, Plane
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container.frame import SIGNATURE
from bbmr_shared.errors import BbmrError
from benchmarks.common import machine, table
from tests.fuzz.damage import taken_apart
from tests.fuzz.promises import check_message
from tests.shared import parts

SECONDS = 0.2
MEGABYTES = 200
CHANGES = 20_000
PHOTO = Path(__file__).parents[2] / "samples" / "lake-sherburne.jpg"
KINDS = {
    "truncated": "at every byte",
    "changed": "one byte, anywhere",
    "changed, digests right": "one to four bytes, in the file or inside one picture",
}


@dataclass
class Tally:
    """The outcomes of one kind of damage to one container."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    largest_mb: float = 0.0
    findings: list[str] = field(default_factory=list)

    def add(self, outcome: str, seconds: float, megabytes: float, allowed: bool, what: str) -> None:
        self.outcomes[outcome] += 1
        self.slowest_ms = max(self.slowest_ms, 1000 * seconds)
        self.largest_mb = max(self.largest_mb, megabytes)
        if not allowed or seconds > SECONDS or megabytes > MEGABYTES:
            self.findings.append(f"{what}: {outcome}, {seconds:.2f} s, {megabytes:.0f} MB")


def containers() -> dict[str, bytes]:
    """Returns by name: a crop of the sample photo in several rates, one with alpha and metadata, and a source file."""
    with Image.open(PHOTO) as photo:
        crop = photo.convert("RGB").crop((600, 400, 984, 656))
    several = encode(crop, rate=2, block=32)
    clear = crop.resize((192, 128))
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    clear.info |= {
        "icc_profile": _profile(),
        "exif": _exif(),
        "xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
    }
    out = io.BytesIO()
    crop.save(out, "JPEG", quality=60)
    original = Container(
        *crop.size,
        np.ones((2, 3), np.uint8),
        (Plane(1, "jpeg", out.getvalue()),),
        strength=0,
        original=True,
    )
    return {
        "photo in several rates": several.to_bytes(),
        "alpha, ICC, EXIF, XMP": encode(clear, rate=2, block=32).to_bytes(),
        "source file (JPEG)": original.to_bytes(),
    }


def damaged(kind: str, data: bytes, count: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Yields every truncation, or `count` random changes: a description and the damaged file."""
    if kind == "truncated":
        yield from ((f"cut at {length}", data[:length]) for length in range(len(data)))
        return
    rng = random.Random(f"{seed}/{kind}")
    for number in range(count):
        if kind == "changed":
            yield f"change {number}", _change(rng, data, 1)
        elif number % 2:
            yield (
                f"change {number}",
                parts.sealed(_change(rng, data[len(SIGNATURE) : -16], rng.randint(1, 4))),
            )
        else:
            fields, pictures = taken_apart(data) or ({}, [])
            at = rng.randrange(len(pictures))
            changed = _change(rng, pictures[at], rng.randint(1, 4))
            yield f"change {number}", parts.with_picture(fields, pictures, at, changed)


def run(name: str, data: bytes, kind: str, count: int, every: int = 1) -> tuple[str, str, int, Tally]:
    """Reads and decodes every `every`-th damage of a kind; another picture is allowed only under right digests."""
    start = _status("VmRSS")
    whole = _picture_of(data)
    tally = Tally()
    for number, (what, file) in enumerate(damaged(kind, data, count)):
        if number % every == 0:
            outcome, seconds, peak = _step(file, whole)
            megabytes = (peak - start) / 1000
            allowed = outcome.endswith("Error") or outcome == "identical" or kind.endswith("right")
            tally.add(outcome, seconds, megabytes, allowed, f"{name}, {kind}, {what}")
    return name, kind, len(data), tally


def measured(file: bytes, decode: bool = True) -> tuple[str, float, float]:
    """Returns outcome ("decoded" or an error), seconds of processor time, and megabytes above those held before."""
    before = _forget_peak()
    began = time.process_time()
    try:
        container = Container.from_bytes(file)
        outcome = "decoded"
        if decode:
            preview(container)
    except BbmrError as error:
        check_message(error)
        outcome = type(error).__name__
    return outcome, time.process_time() - began, (_status("VmHWM") - before) / 1000


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Damage three containers at every place.")
    parser.add_argument("--changes", type=int, default=CHANGES, help="Random changes of each kind, in all.")
    parser.add_argument("--result", type=Path, help="Folder for damage.json and damage.md.")
    arguments = parser.parse_args()
    files = containers()
    count = -(-arguments.changes // len(files))
    rows = []
    for name, data in files.items():
        for kind in KINDS:
            # A process of its own each, so that memory is counted from the same start.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows.append(pool.submit(run, name, data, kind, count).result())
    print(_table(rows))
    findings = [finding for *_, tally in rows for finding in tally.findings]
    print("\n".join(findings[:20]) or "no findings")
    if arguments.result:
        _write(arguments.result, rows, findings)
    return 1 if findings else 0


def _step(file: bytes, whole: bytes) -> tuple[str, float, int]:
    """Outcome, seconds of processor time, and the most resident kB."""
    _forget_peak()
    began = time.process_time()
    try:
        outcome = "identical" if _picture_of(file) == whole else "another picture"
    except BbmrError as error:
        check_message(error)
        outcome = type(error).__name__
    return outcome, time.process_time() - began, _status("VmHWM")


def _forget_peak() -> int:
    """Reset the kernel's peak of resident memory (only on Linux); returns the kB held now."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _picture_of(file: bytes) -> bytes:
    picture = preview(Container.from_bytes(file))
    return blake2b(repr((picture.size, picture.mode)).encode() + picture.tobytes()).digest()


def _status(name: str) -> int:
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name))
    except OSError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _change(rng: random.Random, data: bytes, places: int) -> bytes:
    changed = bytearray(data)
    for _ in range(places):
        changed[rng.randrange(len(changed))] ^= rng.randint(1, 255)
    return bytes(changed)


def _profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    return exif.tobytes()


def _table(rows: list[tuple[str, str, int, Tally]]) -> str:
    head = [
        "container",
        "damage",
        "files",
        "refused",
        "identical",
        "another picture",
        "slowest",
        "most memory",
    ]
    body = []
    for name, kind, size, tally in rows:
        same, other = tally.outcomes["identical"], tally.outcomes["another picture"]
        body.append(
            [
                f"{name}, {size:,} bytes",
                f"{kind}: {KINDS[kind]}",
                f"{tally.outcomes.total():,}",
                f"{tally.outcomes.total() - same - other:,}",
                f"{same:,}",
                f"{other:,}",
                f"{tally.slowest_ms:.1f} ms",
                f"{tally.largest_mb:.1f} MB",
            ]
        )
    return table([head, *body])


def _write(folder: Path, rows: list[tuple[str, str, int, Tally]], findings: list[str]) -> None:
    where = machine()
    command = "python -m tests.fuzz.exhaust"
    held: list[dict[str, Any]] = [
        {
            "container": name,
            "bytes": size,
            "damage": kind,
            "outcomes": dict(tally.outcomes.most_common()),
            "slowest_ms": round(tally.slowest_ms, 2),
            "largest_mb": round(tally.largest_mb, 2),
        }
        for name, kind, size, tally in rows
    ]
    (folder / "damage.json").write_text(
        json.dumps({"command": command, "machine": where, "rows": held, "findings": findings}, indent=1)
        + "\n"
    )
    text = (
        "Every file is read and decoded to the preview. Without right digests, damage is refused or changes nothing; "
        f"a step takes at most {1000 * SECONDS:.0f} ms and {MEGABYTES} MB. Memory is the kernel's count of what the "
        "process held at most during a step, above what it held before the first, so that of codecs is in it."
    )
    note = (
        f"`{command}` · {where['date']} · {where['cpu']}, {where['cores']} cores · Python {where['python']}"
    )
    (folder / "damage.md").write_text(f"# Damaged files\n\n{text}\n\n{_table(rows)}\n\n{note}\n")


if __name__ == "__main__":
    sys.exit(main())
