"""Pace: how fast an engine works, and so how long what it has accepted will take.

In: how long each kind of work took that was done, and for how many units. Out: seconds for work that is not done yet.
A kind is a step of the pool ("decode", say) or the network with some weights; its unit is a pixel. Only work that was
done counts: waiting, a worker that hangs or dies, and pictures that were given up teach nothing.
"""

from __future__ import annotations

import threading

OVERHEAD = 20_000
"""Units that any step of the pool takes beside its pixels: 1×1 pixels are not done in no time."""
GUESSES = {"network": 0.22e-6, "decode": 0.03e-6, "encode": 0.05e-6}
"""Seconds a unit takes where nothing was measured yet: `light` on two cores; a PNG."""
GUESSED = 1e6
"""Units that a guess weighs as much as."""
KEPT = 0.95
"""Share of what was measured before that still counts when there is something new."""
MOST = 8.0
"""How many times slower than expected something is believed to be at once: a batch that made the network compile, or
met a machine that stood still, says little of the next one. What is always so slow is believed bit by bit."""

Kind = tuple[str, str]
"""What is done, "network", "decode" or "encode", and with what: the weights, the way to decode, the format."""


class Pace:
    """What an engine has learned of its speed. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Kind, tuple[float, float]] = {}

    def seconds(self, kind: Kind, units: float) -> float:
        """How long `units` of a kind of work take one device, or one thread."""
        with self._lock:
            return units * self._seconds_a_unit(kind)

    def add(self, kind: Kind, units: float, seconds: float) -> None:
        """Something was done: so many units, which took so long."""
        if units <= 0:
            return
        with self._lock:
            believed = min(seconds, MOST * units * self._seconds_a_unit(kind))
            held_seconds, held_units = self._held.get(kind, (GUESSED * GUESSES[kind[0]], GUESSED))
            self._held[kind] = KEPT * held_seconds + believed, KEPT * held_units + units

    def _seconds_a_unit(self, kind: Kind) -> float:
        seconds, units = self._held.get(kind, (GUESSES[kind[0]], 1.0))
        return seconds / units
