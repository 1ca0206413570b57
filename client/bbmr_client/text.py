"""Text from elsewhere (a file, a server, a name) made fit to be shown: it must not steer the terminal."""

from __future__ import annotations


def printable(text: str, most: int = 500) -> str:
    """`text` as one line of at most `most` printable characters."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
