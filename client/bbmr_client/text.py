"""Text for people: numbers with their nouns, and what comes from elsewhere (a file, a server, a name) made fit to be
shown: it must not steer the terminal.
"""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def printable(text: str, most: int = 500) -> str:
    """`text` as one line of at most `most` printable characters."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
