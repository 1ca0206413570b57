"""The journal of an output folder: an SQLite file in it that says what is done, so that a run can be resumed.

The file is locked while it is open, so two runs never work in one folder; the lock of a killed run ends with its
process. A row is written *before* the output gets its name: a kill in between leaves a row without its file, which
counts as not done. The reverse cannot happen.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from typing import Self

from bbmr_client.batch.result import FileStats, JournalEntry
from bbmr_client.files import FileAccessError, reason
from bbmr_shared.errors import BbmrError
from bbmr_shared.limits import MAX_FACTS_BYTES

JOURNAL_NAME = ".bbmr-done.sqlite"

_APPLICATION = 0x62626D72  # "bbmr"
_VERSION = 1
_TABLES = (
    "CREATE TABLE IF NOT EXISTS folder (id TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS done (
        output BLOB PRIMARY KEY, recipe BLOB NOT NULL, digest BLOB NOT NULL, facts TEXT NOT NULL
    ) WITHOUT ROWID""",
)
_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB"}


class JournalError(BbmrError):
    """The journal of an output folder cannot be used."""

    slug = "journal"


class _DamagedError(Exception):
    """The file is no journal, or a damaged one."""


class Journal:
    """The journal of `folder`, which exists.

    A damaged journal is renamed, `warn` is called with a line about it, and a new one begins. Existing outputs then
    count as files of somebody else: they are kept, and none of them counts as done.

    Raises:
        JournalError: another run has it open, or a later release wrote it.
        FileAccessError: it cannot be written.
    """

    def __init__(self, folder: str, warn: Callable[[str], None]) -> None:
        self.path = os.path.join(folder, JOURNAL_NAME)
        self._folder = folder
        self.is_new = not os.path.lexists(self.path)
        try:
            self._rows = self._open()
        except _DamagedError:
            aside = self._set_aside()
            warn(f"{self.path} is damaged: kept as {aside}; what is done is not known any more")
            self._rows = self._open()
        self._id = self._rows.execute("SELECT id FROM folder").fetchone()[0]

    def known(self, output: str) -> JournalEntry | None:
        """Returns what was recorded for `output` (a path in the folder), or None."""
        with _sqlite_errors(self.path):
            row = self._rows.execute(
                "SELECT recipe, digest, facts FROM done WHERE output = ? AND length(facts) <= ?",
                (os.fsencode(output), MAX_FACTS_BYTES),
            ).fetchone()
        if row is None or not isinstance(row[0], bytes) or not isinstance(row[1], bytes):
            return None
        try:
            return JournalEntry(row[0], row[1], FileStats.from_json(row[2]))
        except (ValueError, TypeError):
            return None

    def record(self, output: str, known: JournalEntry) -> None:
        """Record that `output` is about to get its name."""
        with _sqlite_errors(self.path):
            self._rows.execute(
                "INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?)",
                (os.fsencode(output), known.recipe, known.digest, known.stats.to_json()),
            )

    def temporary(self, index: int) -> str:
        """Returns a path in the folder for the result of task `index`. Journals of other folders give other names."""
        return os.path.join(self._folder, f"{self._prefix}{index}-{secrets.token_hex(4)}.part")

    def remove_leftovers(self) -> None:
        """Remove temporary files of a killed run.

        Safe, because only this process has the journal open, and the names are this journal's alone.
        """
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(self._prefix) and entry.name.endswith(".part"):
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)

    def close(self) -> None:
        """Release the lock. A new journal without a row is removed."""
        try:
            empty = self.is_new and not self._rows.execute("SELECT 1 FROM done LIMIT 1").fetchone()
            self._rows.close()
            if empty:
                os.unlink(self.path)
        except (sqlite3.Error, OSError):
            self._rows.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    @property
    def _prefix(self) -> str:
        return f".bbmr-{self._id}-"

    def _open(self) -> sqlite3.Connection:
        rows = None
        try:
            # timeout: no statement waits. isolation_level: each statement is a transaction unless BEGIN says otherwise.
            rows = sqlite3.connect(self.path, timeout=0, isolation_level=None)
            # The lock is held until the file is closed, without shared memory, which network file systems lack.
            rows.execute("PRAGMA locking_mode = EXCLUSIVE")
            rows.execute("PRAGMA journal_mode = WAL")
            rows.execute("PRAGMA synchronous = FULL")  # a row is on the disk before its output has its name
            rows.execute("BEGIN IMMEDIATE")
            self._check(rows)
            for table in _TABLES:
                rows.execute(table)
            if rows.execute("SELECT count(*) FROM folder").fetchone() == (0,):
                rows.execute("INSERT INTO folder VALUES (?)", (secrets.token_hex(6),))
            rows.execute(f"PRAGMA application_id = {_APPLICATION}")
            rows.execute(f"PRAGMA user_version = {_VERSION}")
            rows.execute("COMMIT")
            return rows
        except BaseException as error:
            if rows is not None:
                rows.close()
            if not isinstance(error, sqlite3.Error):
                raise
            code = getattr(error, "sqlite_errorname", "") or ""
            if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise JournalError(
                    f"another run is working in {self._folder}: wait until it ends, or name another folder with -o"
                ) from None
            if code.partition("_VTAB")[0] in _DAMAGED or type(error) is sqlite3.DatabaseError:
                raise _DamagedError from error
            raise FileAccessError(f"{self.path} cannot be used: {reason(error)}") from error

    def _check(self, rows: sqlite3.Connection) -> None:
        (application,) = rows.execute("PRAGMA application_id").fetchone()
        (version,) = rows.execute("PRAGMA user_version").fetchone()
        (tables,) = rows.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application == _APPLICATION and version > _VERSION:
            raise JournalError(
                f"{self.path} was written by a later release: use that, or another folder with -o"
            )
        if tables == 0:
            return
        if application != _APPLICATION or rows.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise _DamagedError
        names = {row[0] for row in rows.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        ids = rows.execute("SELECT id FROM folder").fetchall() if {"folder", "done"} <= names else []
        if len(ids) != 1 or not (isinstance(ids[0][0], str) and ids[0][0].isalnum()):
            raise _DamagedError

    def _set_aside(self) -> str:
        aside, number = f"{self.path}.damaged", 1
        while os.path.lexists(aside):
            number += 1
            aside = f"{self.path}.damaged-{number}"
        try:
            os.rename(self.path, aside)
            for ending in ("-wal", "-shm", "-journal"):
                if os.path.lexists(self.path + ending):
                    os.rename(self.path + ending, aside + ending)
        except OSError as problem:
            raise FileAccessError(
                f"{self.path} is damaged and cannot be moved: {reason(problem)}"
            ) from problem
        return aside


@contextlib.contextmanager
def _sqlite_errors(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(f"{path} cannot be used: {reason(error)}") from error
