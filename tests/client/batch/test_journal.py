"""The journal of an output folder: what is done, and nothing wrong ever."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bbmr_client.batch.journal import JOURNAL_NAME, Journal, JournalError
from bbmr_client.batch.result import FileStats, JournalEntry
from bbmr_client.files import FileAccessError

KNOWN = JournalEntry(b"r" * 32, b"d" * 32, FileStats(3, 4, 50, 6, 0.5, ("odd",)))


def silent(line: str) -> None:
    raise AssertionError(line)


def edit(path: Path, statement: str, values: tuple[object, ...] = ()) -> None:
    with closing(sqlite3.connect(path)) as rows, rows:
        rows.execute(statement, values)


def test_what_is_recorded_is_known_afterwards(tmp_path: Path) -> None:
    with Journal(str(tmp_path), silent) as journal:
        assert journal.known("a.bbmr") is None
        journal.record("a.bbmr", KNOWN)
        journal.record("\udcff.bbmr", KNOWN)
    with Journal(str(tmp_path), silent) as journal:
        assert journal.known("a.bbmr") == KNOWN
        assert journal.known("\udcff.bbmr") == KNOWN
    assert os.listdir(tmp_path) == [JOURNAL_NAME]


def test_one_that_holds_nothing_leaves_nothing(tmp_path: Path) -> None:
    with Journal(str(tmp_path), silent):
        pass
    assert os.listdir(tmp_path) == []


def test_a_killed_run_loses_nothing_and_holds_no_lock(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from bbmr_client.batch.journal import Journal
from tests.client.batch.test_journal import KNOWN
journal = Journal(sys.argv[1], print)
journal.record("a.bbmr", KNOWN)
open(journal.temporary(7), "w").close()
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, check=False)
    foreign = tmp_path / ".bbmr-0123456789ab-1-00000000.part"
    foreign.touch()
    assert len(list(tmp_path.glob(".bbmr-*.part"))) == 2
    with Journal(str(tmp_path), silent) as journal:
        assert journal.known("a.bbmr") == KNOWN
        journal.remove_leftovers()
    assert list(tmp_path.glob(".bbmr-*.part")) == [foreign], "what is not its own is left alone"


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    with Journal(str(tmp_path), silent) as journal:
        code = "import sys; from bbmr_client.batch.journal import Journal; Journal(sys.argv[1], print)"
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert "another run is working in" in done.stderr
        with pytest.raises(JournalError, match="another run"):
            Journal(str(tmp_path), silent)
        journal.record("a.bbmr", KNOWN)


@pytest.mark.parametrize("damage", ["overwritten", "torn", "foreign", "emptied", "no id"])
def test_a_damaged_one_is_set_aside(tmp_path: Path, damage: str) -> None:
    path = tmp_path / JOURNAL_NAME
    with Journal(str(tmp_path), silent) as journal:
        for index in range(500):
            journal.record(f"{index}.bbmr", KNOWN)
    whole = path.read_bytes()
    if damage == "overwritten":
        path.write_bytes(b"this is no database" * 1000)
    elif damage == "torn":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "foreign":
        path.unlink()
        edit(path, "CREATE TABLE done (output TEXT)")
    elif damage == "emptied":
        edit(path, "DROP TABLE done")
    else:
        edit(path, "DELETE FROM folder")
    told: list[str] = []
    with Journal(str(tmp_path), told.append) as journal:
        assert journal.known("1.bbmr") is None
        journal.record("1.bbmr", KNOWN)
    assert len(told) == 1
    assert "is damaged: kept as" in told[0]
    assert (tmp_path / f"{JOURNAL_NAME}.damaged").exists()
    with Journal(str(tmp_path), silent) as journal:
        assert journal.known("1.bbmr") == KNOWN


@pytest.mark.parametrize(
    "values",
    [("r", b"d", KNOWN.stats.to_json()), (b"r", b"d", "{}"), (b"r", b"d", "no JSON"), (b"r", b"d", b"\xff")],
)
def test_a_row_that_makes_no_sense_is_no_row(tmp_path: Path, values: tuple[object, ...]) -> None:
    with Journal(str(tmp_path), silent) as journal:
        journal.record("a.bbmr", KNOWN)
    edit(tmp_path / JOURNAL_NAME, "UPDATE done SET recipe = ?, digest = ?, facts = ?", values)
    with Journal(str(tmp_path), silent) as journal:
        assert journal.known("a.bbmr") is None


def test_one_of_a_later_release_is_left_alone(tmp_path: Path) -> None:
    with Journal(str(tmp_path), silent) as journal:
        journal.record("a.bbmr", KNOWN)
    edit(tmp_path / JOURNAL_NAME, "PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="later release"):
        Journal(str(tmp_path), silent)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(FileAccessError, match="cannot be used"):
        Journal(str(tmp_path), silent)
