"""The names of codecs and formats are those of the tables."""

from __future__ import annotations

import subprocess
import sys

from bbmr_shared.images.codecs import CODECS
from bbmr_shared.images.names import (
    KNOWN_BUT_ABSENT,
    LOSSLESS_CODECS,
    LOSSY_CODECS,
    CodecName,
    FormatName,
)
from bbmr_shared.images.output import OUTPUT_FORMATS


def test_the_codecs_that_write_are_those_of_the_table() -> None:
    written = [row for row in CODECS.values() if row.write is not None]
    assert tuple(row.name for row in written if row.lossless) == LOSSLESS_CODECS
    assert tuple(row.name for row in written if not row.lossless) == LOSSY_CODECS


def test_every_name_is_of_a_codec_or_reserved() -> None:
    assert {name.value for name in CodecName} == {*LOSSLESS_CODECS, *LOSSY_CODECS} | KNOWN_BUT_ABSENT
    assert not KNOWN_BUT_ABSENT & CODECS.keys()


def test_the_output_formats_are_those_of_the_table() -> None:
    assert [name.value for name in FormatName] == list(OUTPUT_FORMATS)


def test_the_names_need_neither_numpy_nor_pillow() -> None:
    code = "import sys, bbmr_shared.images.names; sys.exit('numpy' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
