"""Throughput: how fast this engine works, learned from the work that it has done.

In: the seconds that some units of a kind of work took. Out: the seconds that other units of that kind will take. A kind
is a step of the thread pool ("decode", say) or the network with some weights; its unit is a pixel. Only finished work
counts. Waiting, a worker that hangs or dies, and pictures that were given up do not.
"""

from __future__ import annotations

import threading

OVERHEAD = 20_000
"""Units that a step of the pool takes besides its pixels: even a picture of 1×1 pixels takes time."""
GUESSES = {"network": 0.22e-6, "decode": 0.03e-6, "encode": 0.05e-6}
"""Seconds a unit takes before anything was measured: `light` on two cores; a PNG."""
GUESSED = 1e6
"""Weight of a guess, in units."""
KEPT = 0.95
"""Share of the older measurements that still counts after a new one."""
MOST = 8.0
"""One measurement counts as at most this many times slower than expected. A batch that made the network compile, or met
a machine that stood still, says little about the next one. Work that is always that slow is learned step by step."""

Kind = tuple[str, str]
"""("network", weights), ("decode", way of decoding) or ("encode", format)."""


class Throughput:
    """What an engine has learned about its speed. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Kind, tuple[float, float]] = {}

    def seconds(self, kind: Kind, units: float) -> float:
        """Seconds that one device, or one thread, will take for `units` of a kind of work."""
        with self._lock:
            return units * self._seconds_a_unit(kind)

    def add(self, kind: Kind, units: float, seconds: float) -> None:
        """Learn that `units` of a kind of work took `seconds`."""
        if units <= 0:
            return
        with self._lock:
            believed = min(seconds, MOST * units * self._seconds_a_unit(kind))
            held_seconds, held_units = self._held.get(kind, (GUESSED * GUESSES[kind[0]], GUESSED))
            self._held[kind] = KEPT * held_seconds + believed, KEPT * held_units + units

    def _seconds_a_unit(self, kind: Kind) -> float:
        seconds, units = self._held.get(kind, (GUESSES[kind[0]], 1.0))
        return seconds / units
