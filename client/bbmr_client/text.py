"""Text for people: numbers with their nouns, and foreign text without characters that control the terminal."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: "1 file", "2 files"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def printable(text: str, most: int = 500) -> str:
    """Returns `text` as one line of at most `most` printable characters."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
