"""Estimates how long a picture will take, from its size, what is asked for and the engine's throughput.

Once the picture is decoded, its tiles are known and the estimate follows those that are left.
"""

from __future__ import annotations

from bbmr_shared.compositing.region import Region
from bbmr_shared.compositing.thumbnail import fitted
from bbmr_shared.compositing.window import REACH

from .model_store import ServedModel
from .request import PictureRequest
from .throughput import OVERHEAD, Kind, Throughput

CODED = 0.2
"""Cost of a pixel that is only decoded, because it lies outside the region, relative to one that is composited too."""


class Estimate:
    """The estimate for one picture.

    Args:
        model: the weights; None where the network does not run.
        devices, threads: how many share the work.

    Attributes:
        pixels: of the padded picture, which the job holds in memory; 0 where the source file is the answer.
        decode, encode: kind of work and units.
        network_units: pixels that go through the network, halos included; corrected once the tiles are known.
    """

    def __init__(
        self,
        request: PictureRequest,
        model: ServedModel | None,
        throughput: Throughput,
        devices: int,
        threads: int,
    ) -> None:
        self._throughput, self._devices, self._threads = throughput, devices, threads
        container = request.container
        whole: Region = (0, 0, container.width, container.height)
        area = request.region or whole
        self.pixels = container.grid.padded_width * container.grid.padded_height
        window = min(self.pixels, (area[2] + 2 * REACH) * (area[3] + 2 * REACH))
        way = "thumbnail" if request.max_side is not None else "preview" if model is None else "tiles"
        self.decode: tuple[Kind, float] = ("decode", way), OVERHEAD + CODED * self.pixels + window
        width, height = area[2:] if request.max_side is None else fitted(*area[2:], request.max_side)
        self.encode: tuple[Kind, float] = ("encode", request.format), OVERHEAD + width * height
        self.network: Kind = ("network", model.name if model is not None else "")
        self.network_units = 0.0
        if model is not None:
            halo = 2 * model.config.halo
            self.network_units = float(min(self.pixels, (area[2] + halo) * (area[3] + halo)))
        if request.source_file is not None:  # nothing is decoded or encoded
            self.pixels, self.network_units = 0, 0.0
            self.decode, self.encode = (self.decode[0], 0.0), (self.encode[0], 0.0)

    def seconds(self, decoding: bool = True, tiles: float = 1.0) -> float:
        """Seconds that the rest takes if the picture has its share of every device and thread.

        Args:
            decoding: whether the picture is still to be decoded.
            tiles: the share of its tiles that is left.
        """
        pool = self._throughput.seconds(*self.encode)
        if decoding:
            pool += self._throughput.seconds(*self.decode)
        network = self._throughput.seconds(self.network, tiles * self.network_units)
        return pool / self._threads + network / self._devices
