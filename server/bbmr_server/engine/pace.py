"""Pace: how fast an engine gets pictures done, and so how long what it has accepted will take.

In: what was finished, and how long the engine was busy with it. Out: seconds for a cost. The unit of cost is a pixel
that goes through the network; everything else a picture needs is counted in it, roughly. What the machine makes of a
unit is learned while it works: decoder, device, encoder and whatever else runs on it are all in it.
"""

from __future__ import annotations

OVERHEAD = 50_000
"""Cost of any picture, however small: a request of 1×1 pixels takes some 10 ms on the CPU."""
WITHOUT_NETWORK = 0.1
"""Cost of a pixel that is decoded, composited and encoded and does not go through the network: 4K takes 0.2 s so on
two cores, and 1.9 s with `light`."""
GUESS = 0.25e-6
"""Seconds a unit takes where nothing was measured yet: `light` on two cores."""
GUESSED = 2e6
"""Cost of the work that the guess weighs as much as."""
KEPT = 0.95
"""Share of what was measured before that still counts when one more picture is done."""


def cost(pixels: int, network_pixels: int) -> float:
    """Of a picture of so many pixels, of which so many are wanted from the network."""
    return OVERHEAD + WITHOUT_NETWORK * pixels + (1 - WITHOUT_NETWORK) * network_pixels


class Pace:
    """Seconds a unit of cost takes, over the pictures done lately. For one thread at a time."""

    def __init__(self) -> None:
        self._seconds, self._cost = GUESS * GUESSED, GUESSED

    @property
    def seconds_a_unit(self) -> float:
        """Of the time in which there was work; work that overlaps is not counted twice."""
        return self._seconds / self._cost

    def add(self, seconds: float, done: float) -> None:
        """A picture has left, `seconds` after the one before it or after the engine was idle.

        Args:
            done: its cost, as far as it was done; 0 where it was given up at once.
        """
        self._seconds = KEPT * self._seconds + seconds
        self._cost = KEPT * self._cost + done
