"""Every input of a run, with its output and its outcome, in a temporary SQLite database that spills to the disk.

In: files in any order. Out: rows in a fixed order, no two of them with one output. Memory holds a few pages, however
many files there are; a list would grow with the folder.

Two inputs with one output name keep their full names (a.jpg.bbmr, A.png.bbmr), also if the names differ only in case or
Unicode form. If those are equal as well, a digest of the input's name is added. Names depend on the inputs' names
alone, so a resumed run gives the same ones.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from bbmr_client.batch.inputs import InputFile, UnreadableFolder
from bbmr_client.batch.result import FAILED, LEFT, FileStats

_LEVELS = 3
_TABLE = """CREATE TABLE input (
    argument INTEGER, place BLOB, source BLOB, identity BLOB, level INTEGER,
    name1 BLOB, name2 BLOB, name3 BLOB, key1 TEXT, key2 TEXT, key3 TEXT, reason TEXT,
    UNIQUE (identity, name1)
)"""


@dataclass(frozen=True)
class PlanRow:
    """One input. output: its path in the output folder ("": it has none); stats: None until it is done."""

    index: int
    source: str
    output: str
    outcome: str
    reason: str
    stats: FileStats | None


class BatchPlan:
    """Call `add` for each input, then `settle` once, then the others. added: number of calls of `add`."""

    def __init__(self, ending: str) -> None:
        self._ending = ending
        self.added = 0
        self._rows = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2000"):
            self._rows.execute(f"PRAGMA {pragma}")
        self._rows.execute(_TABLE)
        self._rows.execute("BEGIN")

    def add(self, found: InputFile | UnreadableFolder) -> None:
        """Add a file, or a folder that cannot be listed. A file that was added before is ignored."""
        self.added += 1
        folder, base = found.folder, os.path.basename(found.source)
        argument, source = found.argument, os.fsencode(found.source)
        # With NUL for the separator, the files of a folder sort together.
        place = os.fsencode(os.path.join(folder, base)).replace(os.sep.encode(), b"\0")
        identity = os.fsencode(os.path.abspath(found.source))
        if isinstance(found, UnreadableFolder):
            values = (argument, place, source, identity, 0, *[b""] * 3, *[""] * 3, found.reason)
        else:
            mark = hashlib.blake2b(source, digest_size=4).hexdigest()
            endings = (self._ending, self._ending, f".{mark}{self._ending}")
            stems = (os.path.splitext(base)[0], base, base)
            outputs = [os.path.join(folder, stem + end) for stem, end in zip(stems, endings, strict=True)]
            names, keys = [os.fsencode(output) for output in outputs], [_key(output) for output in outputs]
            values = (argument, place, source, identity, 1, *names, *keys, None)
        self._rows.execute(f"INSERT OR IGNORE INTO input VALUES ({', '.join('?' * 12)})", values)

    def settle(self) -> None:
        """Give each input its number and its output. Called once, after the last `add`."""
        key = "CASE level WHEN 1 THEN key1 WHEN 2 THEN key2 ELSE key3 END"
        while True:
            # Inputs that share an output name and are at their shortest form of it take the next longer form.
            self._rows.execute(
                f"""WITH named AS (SELECT rowid AS id, level, {key} AS name FROM input WHERE level > 0),
                    shared AS (SELECT name, min(level) AS least FROM named GROUP BY name HAVING count(*) > 1)
                    UPDATE input SET level = level + 1 WHERE level < {_LEVELS} AND rowid IN
                    (SELECT named.id FROM named JOIN shared USING (name) WHERE named.level = shared.least)"""
            )
            if self._rows.execute("SELECT changes()").fetchone() == (0,):
                break
        output = "CASE level WHEN 0 THEN x'' WHEN 1 THEN name1 WHEN 2 THEN name2 ELSE name3 END"
        self._rows.execute(
            "CREATE TABLE plan "
            "(id INTEGER PRIMARY KEY, source BLOB, output BLOB, outcome TEXT, reason TEXT, stats TEXT)"
        )
        self._rows.execute(
            f"""INSERT INTO plan (source, output, outcome, reason)
                SELECT source, {output}, CASE level WHEN 0 THEN '{FAILED}' ELSE '{LEFT}' END, reason
                FROM input ORDER BY argument, place"""
        )
        self._rows.execute("DROP TABLE input")
        self._rows.execute(f"CREATE INDEX failures ON plan (id) WHERE outcome = '{FAILED}'")

    def count(self, outcome: str | None = None) -> int:
        """Returns the number of inputs, or of those with this outcome."""
        where, values = ("", ()) if outcome is None else (" WHERE outcome = ?", (outcome,))
        (number,) = self._rows.execute(f"SELECT count(*) FROM plan{where}", values).fetchone()
        return int(number)

    def rows(self) -> Iterator[PlanRow]:
        """Yields every input in order. `mark` may be called meanwhile."""
        yield from self._read("")

    def waiting(self) -> Iterator[PlanRow]:
        """Yields the inputs that are left, in order."""
        yield from self._read(f" AND outcome = '{LEFT}'")

    def failures(self, most: int) -> list[PlanRow]:
        """Returns the first failed inputs, at most `most`."""
        found = self._rows.execute(
            f"SELECT * FROM plan WHERE outcome = '{FAILED}' ORDER BY id LIMIT ?", (most,)
        )
        return [_row(values) for values in found]

    def mark(self, index: int, outcome: str, reason: str = "", stats: FileStats | None = None) -> None:
        """Record the outcome of an input."""
        figures = None if stats is None else stats.to_json()
        text = reason.encode("utf-8", "backslashreplace").decode()  # a name may have bytes that are not UTF-8
        self._rows.execute(
            "UPDATE plan SET outcome = ?, reason = ?, stats = ? WHERE id = ?", (outcome, text, figures, index)
        )

    def close(self) -> None:
        """Delete the database."""
        self._rows.close()

    def _read(self, condition: str) -> Iterator[PlanRow]:
        last = 0
        while True:  # in portions: whether an open statement sees what `mark` writes is undefined
            portion = self._rows.execute(
                f"SELECT * FROM plan WHERE id > ?{condition} ORDER BY id LIMIT 256", (last,)
            ).fetchall()
            if not portion:
                return
            for values in portion:
                yield _row(values)
            last = portion[-1][0]


def _key(output: str) -> str:
    """Returns the same key for names that are equal on a file system that ignores case and Unicode form."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", output).casefold())
    return folded.encode("utf-8", "backslashreplace").decode()


def _row(values: tuple[int, bytes, bytes, str, str | None, str | None]) -> PlanRow:
    index, source, output, outcome, reason, figures = values
    stats = None if figures is None else FileStats.from_json(figures)
    return PlanRow(index, os.fsdecode(source), os.fsdecode(output), outcome, reason or "", stats)
