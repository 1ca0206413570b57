"""Forecasts: how long a picture will take an engine, from what is known of it and the pace of the engine.

Before it is decoded, from its size and what is asked for; then from its tiles, those that are left.
"""

from __future__ import annotations

from bbmr_shared.compositing.region import Region
from bbmr_shared.compositing.thumbnail import fitted
from bbmr_shared.compositing.window import REACH

from .model_store import Served
from .request import Work
from .throughput import OVERHEAD, Kind, Pace

CODED = 0.2
"""A pixel whose planes are decoded, but that lies outside of what is wanted, against one that is composited as well."""


class Forecast:
    """Of one picture.

    Args:
        weights: those it is made with; None where no network is asked.
        devices, threads: that work side by side.

    Attributes:
        network_units: pixels that go through the network, halos included; set anew once the tiles are known.
    """

    def __init__(self, work: Work, weights: Served | None, pace: Pace, devices: int, threads: int) -> None:
        self._pace, self._devices, self._threads = pace, devices, threads
        container = work.container
        whole: Region = (0, 0, container.width, container.height)
        area = work.region or whole
        self.pixels = container.grid.padded_width * container.grid.padded_height
        window = min(self.pixels, (area[2] + 2 * REACH) * (area[3] + 2 * REACH))
        way = "thumbnail" if work.max_side is not None else "preview" if weights is None else "tiles"
        self.decode: tuple[Kind, float] = ("decode", way), OVERHEAD + CODED * self.pixels + window
        width, height = area[2:] if work.max_side is None else fitted(*area[2:], work.max_side)
        self.encode: tuple[Kind, float] = ("encode", work.format), OVERHEAD + width * height
        self.network: Kind = ("network", weights.name if weights is not None else "")
        self.network_units = 0.0
        if weights is not None:
            halo = 2 * weights.config.halo
            self.network_units = float(min(self.pixels, (area[2] + halo) * (area[3] + halo)))

    def seconds(self, decoding: bool = True, tiles: float = 1.0) -> float:
        """How long the rest takes while it has its share of every device and thread.

        Args:
            decoding: whether it is still to be decoded.
            tiles: the share of its tiles that is left.
        """
        pool = self._pace.seconds(*self.encode)
        if decoding:
            pool += self._pace.seconds(*self.decode)
        network = self._pace.seconds(self.network, tiles * self.network_units)
        return pool / self._threads + network / self._devices
