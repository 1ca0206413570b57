"""The line that a long encoding of one photo shows on a terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bbmr_client.commands import encoding_progress
from tests.client.terminal import seen_on_a_terminal

PROGRAM = (
    "import sys; from bbmr_client.commands import encoding_progress; from bbmr_client.cli import main; "
    "encoding_progress.AFTER_S = float(sys.argv[1]); sys.exit(main(sys.argv[2:]))"
)


def on_a_terminal(after: float, *words: object) -> str:
    """What a terminal receives of a command line; the line appears after so many seconds."""
    command = [sys.executable, "-c", PROGRAM, str(after), *map(str, words)]
    status, seen = seen_on_a_terminal(command, 200)
    assert status == 0
    return seen


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals of POSIX")
class TestOnATerminal:
    def test_a_long_encoding_shows_its_steps(self, photo: Path) -> None:
        seen = on_a_terminal(0, "encode", photo)
        assert f"encoding {photo}, step " in seen
        last = seen.rstrip().splitlines()[-1].rpartition("\x1b[2K")[2]
        assert last.startswith(f"{photo.with_suffix('.bbmr')}: 300×200")

    def test_a_short_one_does_not(self, photo: Path) -> None:
        assert "encoding" not in on_a_terminal(60, "encode", photo)

    def test_quiet(self, photo: Path) -> None:
        assert on_a_terminal(0, "encode", photo, "--quiet") == ""


def test_not_where_nobody_looks(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(encoding_progress, "AFTER_S", 0.0)
    with encoding_progress.encoding_shown(str(photo), quiet=False) as step:
        step()
    assert capfd.readouterr() == ("", "")


def test_it_may_end_before_the_line_began(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(encoding_progress, "is_terminal", lambda: True)
    with encoding_progress.encoding_shown("[bold]x.png", quiet=False) as step:
        step()
    assert "encoding" not in capfd.readouterr().err
