"""Fuzzes reading a container and writing it again: `python -m tests.fuzz.fuzz_reader FOLDER [libFuzzer arguments]`.

`FOLDER` is for findings and statistics. It needs the extra `fuzz`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bbmr_shared"]):
    from tests.fuzz.promises import check_read
from tests.fuzz.target import fuzz

if __name__ == "__main__":
    fuzz(check_read, Path(sys.argv[1]), sys.argv[2:])
