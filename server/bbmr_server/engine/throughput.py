"""Throughput: how fast this engine works, measured on the work that it has done.

In: the seconds that some units of a kind of work took. Out: the seconds that other units of that kind will take. A kind
is a step of the thread pool (such as "decode") or the network with some weights; its unit is a pixel. Only finished
work counts. Waits, workers that hang or die, and jobs that were given up do not count.
"""

from __future__ import annotations

import threading

OVERHEAD = 20_000
"""Units that a step of the pool counts in addition to its pixels: even a picture of 1×1 pixels takes time."""
GUESSES = {"network": 0.22e-6, "decode": 0.03e-6, "encode": 0.05e-6}
"""Seconds a unit takes before anything was measured: `light` on two cores; a PNG."""
GUESSED = 1e6
"""Weight of a guess, in units."""
KEPT = 0.95
"""Share of the older measurements that still counts after a new one."""
MOST = 8.0
"""A measurement counts as at most this many times slower than expected. One slow batch says little about the next: the
network may have been compiled, or the machine may have paused. If all work is slow, the estimate follows in steps."""

Kind = tuple[str, str]
"""("network", weights), ("decode", way of decoding) or ("encode", format)."""


class Throughput:
    """The measured speed of an engine. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Kind, tuple[float, float]] = {}

    def seconds(self, kind: Kind, units: float) -> float:
        """Returns the seconds that one device, or one thread, will take for `units` of a kind of work."""
        with self._lock:
            return units * self._seconds_a_unit(kind)

    def add(self, kind: Kind, units: float, seconds: float) -> None:
        """Add a measurement: `units` of a kind of work took `seconds`."""
        if units <= 0:
            return
        with self._lock:
            believed = min(seconds, MOST * units * self._seconds_a_unit(kind))
            held_seconds, held_units = self._held.get(kind, (GUESSED * GUESSES[kind[0]], GUESSED))
            self._held[kind] = KEPT * held_seconds + believed, KEPT * held_units + units

    def _seconds_a_unit(self, kind: Kind) -> float:
        seconds, units = self._held.get(kind, (GUESSES[kind[0]], 1.0))
        return seconds / units
