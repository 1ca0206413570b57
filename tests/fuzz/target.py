"""The parts that both fuzzing targets share: the mutator, the limits of time and memory, and the count of outcomes.

A finding is an input that broke the promise, or took more than `SECONDS` of processor time or `GROWTH_KIB` of memory.
It is written as a file, one of each kind, and does not end the run.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import atheris

from bbmr_shared.container.frame import SIGNATURE, write_frame
from tests.fuzz.damage import MUTATIONS, good_ones, seeds, taken_apart
from tests.shared import parts

SECONDS = 0.2
GROWTH_KIB = 200 << 10
STATISTICS = "statistics.json"
LONGEST = 1 << 13
"""Larger seeds slow the fuzzer down; only the seeded tests use them."""


def fuzz(promise: Callable[[bytes], str], folder: Path, arguments: list[str], pictures: float = 0.25) -> None:
    """Fuzz until libFuzzer's `arguments` end the run; never returns.

    Args:
        promise: takes bytes and returns the name of the outcome.
        folder: for `STATISTICS` and the findings.
        arguments: of libFuzzer.
        pictures: the share of steps that damage only the inside of a coded picture.
    """
    corpus = [*good_ones(), *(data for data in seeds() if len(data) <= LONGEST)]
    watch = _Watch(promise, folder)
    places = folder / "seeds"
    places.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(corpus):
        (places / f"{number:03d}").write_bytes(data)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        return _mutate(bytes(data), max_size, random.Random(seed), corpus, pictures)[:max_size]

    command = [sys.argv[0], f"-max_len={LONGEST}", "-rss_limit_mb=4096", "-timeout=20", *arguments]
    (folder / "found").mkdir(exist_ok=True)
    atheris.Setup(
        [*command, f"-artifact_prefix={folder}/libfuzzer-", str(folder / "found"), str(places)],
        watch.one,
        custom_mutator=mutate,
    )
    atheris.Fuzz()


def _mutate(data: bytes, max_size: int, rng: random.Random, corpus: list[bytes], share: float) -> bytes:
    """Half of the damage is libFuzzer's, which follows the comparisons in the code, under right digests; half is ours.

    Two of five steps start from a good container: most of what libFuzzer collects is refused early.
    """
    if rng.random() < 0.4:
        data = rng.choice(corpus)
    choice = rng.random()
    if choice < 0.05:
        return atheris.Mutate(data, max_size)
    taken = taken_apart(data)
    if taken and taken[1] and choice < 0.05 + share:
        fields, pictures = taken
        at = rng.randrange(len(pictures))
        changed = atheris.Mutate(pictures[at] or b"\0", len(pictures[at]) + 64)
        return parts.with_picture(fields, pictures, at, changed)
    if choice < 0.5 + share / 2:
        return rng.choice(MUTATIONS)(rng, data, corpus)
    if taken is None:
        return parts.sealed(atheris.Mutate(data[len(SIGNATURE) : -16] or b"\x80", max_size))
    fields, pictures = taken
    header = parts.packed(fields)
    rest = write_frame({}, pictures)[len(SIGNATURE) + 1 : -16]
    return parts.sealed(atheris.Mutate(header, len(header) + 64) + rest)


class _Watch:
    """Runs the promise on each input, measures it and counts outcomes."""

    def __init__(self, promise: Callable[[bytes], str], folder: Path) -> None:
        self._promise = promise
        self._folder = folder
        self._outcomes: Counter[str] = Counter()
        self._findings: dict[str, str] = {}
        self._peak = self._written = self._slowest = self._largest = 0.0

    def one(self, data: bytes) -> None:
        began = time.process_time()
        try:
            self._outcomes[self._promise(data)] += 1
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._outcomes["finding"] += 1
            self._keep(data, f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {error}")
        seconds = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        growth = peak - self._peak if self._peak else 0.0
        self._peak = peak
        self._slowest, self._largest = max(self._slowest, seconds), max(self._largest, growth)
        if seconds > SECONDS:
            self._keep(data, f"slow: took {seconds:.2f} s")
        if growth > GROWTH_KIB:
            self._keep(data, f"large: took {growth / 1024:.0f} MiB")
        if time.monotonic() - self._written > 2:
            self._written = time.monotonic()
            self._write()

    def _keep(self, data: bytes, what: str) -> None:
        kind = what.partition(": ")[0]
        if kind not in self._findings:
            name = f"finding-{len(self._findings)}.bbmr"
            (self._folder / name).write_bytes(data)
            self._findings[kind] = f"{name}: {what}"
            self._write()

    def _write(self) -> None:
        statistics = {
            "executions": self._outcomes.total(),
            "outcomes": dict(self._outcomes.most_common()),
            "slowest_seconds": round(self._slowest, 4),
            "largest_growth_mib": round(self._largest / 1024, 1),
            "findings": sorted(self._findings.values()),
        }
        part = self._folder / (STATISTICS + ".tmp")
        part.write_text(json.dumps(statistics, indent=1) + "\n")
        os.replace(part, self._folder / STATISTICS)
