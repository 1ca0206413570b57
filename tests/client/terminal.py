"""A pseudo-terminal, and what a process writes to it. POSIX only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence


def seen_on_a_terminal(command: Sequence[str], columns: int) -> tuple[int, str]:
    """Runs a command whose standard error is a terminal. Returns its exit status and all that the terminal receives."""
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    process = subprocess.Popen(command, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    return process.wait(), seen.decode()
