"""The progress of one exchange with a server: a line on a terminal that disappears at the end."""

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
    """Yields what a client takes as `progress`; None if nothing is shown."""
    if quiet or not is_terminal():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("connecting") as status:

        def update(way: Literal["up", "down"], so_far: int, total: int | None) -> None:
            status.update(transfer_line(way, so_far, total))

        yield update


def transfer_line(way: Literal["up", "down"], so_far: int, total: int | None) -> str:
    """Returns the text of the line. way: "up" sends, "down" receives."""
    if way == "up" and so_far == total:
        return f"{megabytes(so_far)} sent, waiting for the picture"
    of = "" if total is None else f" of {megabytes(total)}"
    return f"{megabytes(so_far)}{of} {'sent' if way == 'up' else 'received'}"
