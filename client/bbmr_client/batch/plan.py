"""Every input of a run with its output and what became of it, in a temporary database that spills to the disk.

In: files in any order. Out: jobs in a fixed order, no two of them with one output, and rows for the report. A list
would grow with the folder; here memory holds a few pages, whatever the number of files.

Two inputs with one output name, also where only case or Unicode form differ (a.jpg, A.png), keep their full names
(a.jpg.bbmr, A.png.bbmr); where those are one as well, a digest of the input's name is added. It depends on the
names alone, so a run that is started again gives the same names.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from bbmr_client.batch.inputs import Found, Unlisted
from bbmr_client.batch.result import FAILED, LEFT, Facts

_LEVELS = 3
_TABLE = """CREATE TABLE input (
    given INTEGER, place BLOB, source BLOB, identity BLOB, level INTEGER,
    name1 BLOB, name2 BLOB, name3 BLOB, key1 TEXT, key2 TEXT, key3 TEXT, reason TEXT,
    UNIQUE (identity, name1)
)"""


@dataclass(frozen=True)
class Row:
    """One input. output: its path in the output folder ("" where there is none); facts: where it was made."""

    index: int
    source: str
    output: str
    outcome: str
    reason: str
    facts: Facts | None


class Plan:
    """Filled with `add`, put in order with `settle`, and read and written from then on. added: how often it was."""

    def __init__(self, ending: str) -> None:
        self._ending = ending
        self.added = 0
        self._rows = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2000"):
            self._rows.execute(f"PRAGMA {pragma}")
        self._rows.execute(_TABLE)
        self._rows.execute("BEGIN")

    def add(self, found: Found | Unlisted) -> None:
        """A file, or a folder that could not be listed. A file that is there already is not added again."""
        self.added += 1
        folder, base = found.folder, os.path.basename(found.source)
        given, source = found.given, os.fsencode(found.source)
        place = os.fsencode(os.path.join(folder, base)).replace(
            os.sep.encode(), b"\0"
        )  # a folder's files together
        identity = os.fsencode(os.path.abspath(found.source))
        if isinstance(found, Unlisted):
            values = (given, place, source, identity, 0, *[b""] * 3, *[""] * 3, found.reason)
        else:
            mark = hashlib.blake2b(source, digest_size=4).hexdigest()
            endings = (self._ending, self._ending, f".{mark}{self._ending}")
            stems = (os.path.splitext(base)[0], base, base)
            outputs = [os.path.join(folder, stem + end) for stem, end in zip(stems, endings, strict=True)]
            names, keys = [os.fsencode(output) for output in outputs], [_key(output) for output in outputs]
            values = (given, place, source, identity, 1, *names, *keys, None)
        self._rows.execute(f"INSERT OR IGNORE INTO input VALUES ({', '.join('?' * 12)})", values)

    def settle(self) -> None:
        """Give every input its number and its output."""
        key = "CASE level WHEN 1 THEN key1 WHEN 2 THEN key2 ELSE key3 END"
        while True:
            # Of those that share a name, the ones with the shortest form of theirs take the next longer one.
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
            "(id INTEGER PRIMARY KEY, source BLOB, output BLOB, outcome TEXT, reason TEXT, facts TEXT)"
        )
        self._rows.execute(
            f"""INSERT INTO plan (source, output, outcome, reason)
                SELECT source, {output}, CASE level WHEN 0 THEN '{FAILED}' ELSE '{LEFT}' END, reason
                FROM input ORDER BY given, place"""
        )
        self._rows.execute("DROP TABLE input")
        self._rows.execute(f"CREATE INDEX failures ON plan (id) WHERE outcome = '{FAILED}'")

    def count(self, outcome: str | None = None) -> int:
        """How many inputs there are, or how many with this outcome."""
        where, values = ("", ()) if outcome is None else (" WHERE outcome = ?", (outcome,))
        (number,) = self._rows.execute(f"SELECT count(*) FROM plan{where}", values).fetchone()
        return int(number)

    def rows(self) -> Iterator[Row]:
        """Every input in order; rows may be written meanwhile."""
        yield from self._read("")

    def waiting(self) -> Iterator[Row]:
        """The inputs that are to be worked on, in order."""
        yield from self._read(f" AND outcome = '{LEFT}'")

    def failures(self, most: int) -> list[Row]:
        """The first failed inputs."""
        found = self._rows.execute(
            f"SELECT * FROM plan WHERE outcome = '{FAILED}' ORDER BY id LIMIT ?", (most,)
        )
        return [_row(values) for values in found]

    def mark(self, index: int, outcome: str, reason: str = "", facts: Facts | None = None) -> None:
        """Write down what became of an input."""
        told = None if facts is None else facts.to_json()
        text = reason.encode("utf-8", "backslashreplace").decode()  # a name may hold bytes that are no text
        self._rows.execute(
            "UPDATE plan SET outcome = ?, reason = ?, facts = ? WHERE id = ?", (outcome, text, told, index)
        )

    def close(self) -> None:
        """Forget everything."""
        self._rows.close()

    def _read(self, condition: str) -> Iterator[Row]:
        last = 0
        while (
            True
        ):  # in portions: a statement that stays open sees, or does not see, what is written meanwhile
            portion = self._rows.execute(
                f"SELECT * FROM plan WHERE id > ?{condition} ORDER BY id LIMIT 256", (last,)
            ).fetchall()
            if not portion:
                return
            for values in portion:
                yield _row(values)
            last = portion[-1][0]


def _key(output: str) -> str:
    """What is one name on a file system that does not tell case or Unicode forms apart."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", output).casefold())
    return folded.encode("utf-8", "backslashreplace").decode()


def _row(values: tuple[int, bytes, bytes, str, str | None, str | None]) -> Row:
    index, source, output, outcome, reason, facts = values
    told = None if facts is None else Facts.from_json(facts)
    return Row(index, os.fsdecode(source), os.fsdecode(output), outcome, reason or "", told)
