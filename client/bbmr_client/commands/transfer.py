"""How far one exchange with a server is, on a terminal.

In: bytes as they go up and come down. Out: a passing line on standard error; nothing where that is no terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from bbmr_client.batch.display import is_terminal
from bbmr_client.batch.summary import megabytes

if TYPE_CHECKING:
    from bbmr_client.http.exchange import Progress


@contextmanager
def transfer_shown(quiet: bool) -> Iterator[Progress | None]:
    """What to give a client as `progress`. The line is gone after the block."""
    if quiet or not is_terminal():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("connecting") as status:

        def tell(way: Literal["up", "down"], so_far: int, total: int | None) -> None:
            status.update(transfer_line(way, so_far, total))

        yield tell


def transfer_line(way: Literal["up", "down"], so_far: int, total: int | None) -> str:
    """What the line says."""
    if way == "up" and so_far == total:
        return f"{megabytes(so_far)} sent, waiting for the picture"
    of = "" if total is None else f" of {megabytes(total)}"
    return f"{megabytes(so_far)}{of} {'sent' if way == 'up' else 'received'}"
