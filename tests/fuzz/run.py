"""Fuzzes the container reader for a while: `python -m tests.fuzz.run --minutes 5 [--seed 1]`.

In: minutes and a seed. Out: counts of the outcomes on standard output; exit status 1 and the input in
`fuzz-findings/` where anything but a declared error came out, or a step took too long or too much memory.
`--only N` repeats one step.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.fuzz.reader import case, check, seeds

FINDINGS = Path("fuzz-findings")
SLOW_SECONDS = 5.0
MAX_GROWTH_KIB = 1 << 20
REPORT_SECONDS = 30.0


def fuzz(seconds: float, seed: int, report: bool = False) -> tuple[Counter[str], list[str]]:
    """Run for `seconds`; returns the count of every outcome and one line for each finding."""
    corpus = seeds()
    outcomes: Counter[str] = Counter()
    findings: list[str] = []
    start_memory = _peak_kib()
    start = reported = time.monotonic()
    number = 0
    while time.monotonic() - start < seconds and len(findings) < 10:
        data = case(seed, number, corpus)
        began = time.monotonic()
        try:
            outcomes[check(data, verify=number % 4 != 0)] += 1
        except Exception as error:
            findings.append(_keep(data, seed, number, f"{type(error).__name__}: {error}"))
            traceback.print_exc()
        now = time.monotonic()
        if now - began > SLOW_SECONDS:
            findings.append(_keep(data, seed, number, f"took {now - began:.1f} s"))
        if _peak_kib() - start_memory > MAX_GROWTH_KIB:
            findings.append(_keep(data, seed, number, "memory grew by more than 1 GiB"))
            break
        number += 1
        if report and now - reported > REPORT_SECONDS:
            reported = now
            print(f"{now - start:5.0f} s  {number} steps, {len(findings)} findings", file=sys.stderr)
    return outcomes, findings


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Fuzz the container reader.")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=None, help="default: the time")
    parser.add_argument("--only", type=int, default=None, help="repeat this one step of --seed")
    arguments = parser.parse_args()
    seed = int(time.time()) if arguments.seed is None else arguments.seed
    if arguments.only is not None:
        print(check(case(seed, arguments.only, seeds()), verify=arguments.only % 4 != 0))
        return 0
    print(f"seed {seed}, {arguments.minutes:g} minutes", file=sys.stderr)
    outcomes, findings = fuzz(arguments.minutes * 60, seed, report=True)
    for outcome, count in outcomes.most_common():
        print(f"{count:9d}  {outcome}")
    print(f"{outcomes.total():9d}  steps, seed {seed}, {len(findings)} findings")
    for finding in findings:
        print(finding)
    return 1 if findings else 0


def _keep(data: bytes, seed: int, number: int, what: str) -> str:
    FINDINGS.mkdir(exist_ok=True)
    path = FINDINGS / f"{seed}-{number}.bbmr"
    path.write_bytes(data)
    return f"{path}: {what} (repeat with --seed {seed} --only {number})"


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
