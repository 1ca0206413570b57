"""The network `light` in ncnn, on the CPU, in float32 and without torch.

ncnn computes 3×3 convolutions by Winograd's minimal filtering, which needs fewer multiplications. Its own description
of the network is written from the weights file when that is loaded, so that every runtime reads the same file.

Measured on one core of an EPYC (Zen 4), tiles of 1184² pixels, in processor seconds a megapixel: 0.354 with the output
tiles of 4×4 that `SLOWER` leaves, 0.390 with ncnn's own choice of 2×2, 4×4 and 6×6, 0.694 without Winograd's filtering.
bfloat16 storage took 0.331, but the picture then differs by up to half a step.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bbmr_models.cards import card_of
from bbmr_models.config import RESTORATION, JointSRConfig
from bbmr_shared.cpus import available_cpus
from bbmr_shared.errors import UsageError, WeightsError

from .planar_network import FOLDED, INPUTS, Features, PlanarNetwork
from .processor import OPENMP

MISSING = "the runtime ncnn is not installed: pip install '.[local]' in a checkout"

HALF_PRECISION = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage")
SLOWER = ("winograd23_convolution", "winograd63_convolution")

Weights = Mapping[str, NDArray[np.float32]]


class NcnnNetwork(PlanarNetwork):
    """A `Network` in ncnn. Used from one thread at a time; other threads of the process wait while it runs.

    Args:
        name: of the weights, for messages.
        data: the weights file.
        threads: CPU threads; 0 takes one for each core that the process may use.

    Raises:
        UsageError: ncnn is not installed, or the backbone is not `light`.
        WeightsError: the file is not a weights file, or damaged.
    """

    def __init__(self, name: str, data: bytes, threads: int = 0) -> None:
        for variable, value in OPENMP.items():
            os.environ.setdefault(variable, value)  # ncnn's OpenMP reads them when it is loaded
        try:
            import ncnn
            import safetensors  # noqa: F401, as `_tensors` needs it
        except ImportError as error:
            raise UsageError(MISSING) from error
        self.config = card_of(name, data).config
        if self.config.backbone != "light":
            raise UsageError(
                f"the runtime ncnn runs weights of the backbone light, not {self.config.backbone}"
            )
        try:
            parts = [describe(self.config, weights) for weights in _sets(_tensors(data), self.config)]
        except (ValueError, LookupError) as error:
            raise WeightsError(f"the weights '{name}' do not fit their own configuration: {error}") from error
        self._ncnn = ncnn
        self._nets = [self._net(name, *part, threads) for part in parts]

    def _net(self, name: str, graph: str, values: bytes, threads: int) -> Any:
        net = self._ncnn.Net()
        options = net.opt
        options.num_threads = threads or min(options.num_threads, available_cpus())
        for name_of_option in (*HALF_PRECISION, *SLOWER):
            setattr(options, f"use_{name_of_option}", False)
        with TemporaryDirectory() as folder:
            file = Path(folder) / "weights"
            file.write_bytes(values)
            if net.load_param_mem(graph) or net.load_model(str(file)):
                raise WeightsError(f"ncnn does not take the weights '{name}'")
        return net

    def correct(self, canvas: Features, restoration: bool) -> Features:
        """Run the convolutions. Raises `MemoryError`."""
        with self._nets[restoration].create_extractor() as extractor:
            # a view: ncnn wants channels of a multiple of 16 bytes, and those of tiles are
            extractor.input("canvas", self._ncnn.Mat(canvas))
            failed, out = extractor.extract("out")
            if failed:
                raise MemoryError(f"ncnn could not run a tile of {canvas.shape[2]}×{canvas.shape[1]} samples")
            return np.array(out)


def describe(config: JointSRConfig, weights: Weights) -> tuple[str, bytes]:
    """ncnn's two files: layers as text, weights as bytes. Raises `KeyError` or `ValueError`."""
    writer = _Writer(weights)
    fine, middle, coarse = config.widths
    writer.layer("Input", [], ["canvas"])
    stem = writer.convolution("stem", "canvas", INPUTS, fine)
    at_half = writer.block("fine_in", stem, fine)
    at_quarter = writer.block("middle_in", writer.down("down1", at_half, fine, middle), middle)
    bottom = down = writer.down("down2", at_quarter, middle, coarse)
    for index in range(config.blocks):
        bottom = writer.block(f"body.{index}", bottom, coarse)
    bottom = writer.add(down, bottom)
    at_quarter = writer.block(
        "middle_out", writer.add(at_quarter, writer.up("up2", bottom, coarse, middle)), middle
    )
    at_half = writer.block("fine_out", writer.add(at_half, writer.up("up1", at_quarter, middle, fine)), fine)
    writer.convolution("head", at_half, fine, FOLDED, out="out")
    if writer.left:
        raise ValueError(f"there is no layer for the tensor {sorted(writer.left)[0]}")
    return writer.finish()


class _Writer:
    """Collects layers in their order. A blob that is read twice goes through a Split, which ncnn requires."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.left = set(weights)
        self._layers: list[tuple[str, list[str], list[str], str]] = []
        self._values: list[bytes] = []

    def layer(self, kind: str, inputs: list[str], outputs: list[str], options: str = "") -> str:
        self._layers.append((kind, inputs, outputs, options))
        return outputs[0]

    def convolution(
        self,
        name: str,
        source: str,
        inputs: int,
        outputs: int,
        side: int = 3,
        stride: int = 1,
        relu: bool = False,
        out: str = "",
    ) -> str:
        """A convolution of `side`×`side`; with an odd side it keeps the size."""
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        if weight.shape != (outputs, inputs, side, side) or bias.shape != (outputs,):
            raise ValueError(f"{name} has the shape {weight.shape}")
        self.left -= {f"{name}.weight", f"{name}.bias"}
        self._values += [struct.pack("<I", 0), weight.astype("<f4").tobytes(), bias.astype("<f4").tobytes()]
        options = (
            f"0={outputs} 1={side} 3={stride} 4={side % 2 * (side // 2)} 5=1 6={weight.size} 9={int(relu)}"
        )
        return self.layer("Convolution", [source], [out or name], options)

    def block(self, name: str, source: str, width: int) -> str:
        """Two convolutions, added to their input."""
        inner = self.convolution(f"{name}.first", source, width, width, relu=True)
        return self.add(source, self.convolution(f"{name}.second", inner, width, width))

    def down(self, name: str, source: str, inputs: int, outputs: int) -> str:
        """Half the size."""
        return self.convolution(name, source, inputs, outputs, side=2, stride=2)

    def up(self, name: str, source: str, inputs: int, outputs: int) -> str:
        """Twice the size."""
        mixed = self.convolution(name, source, inputs, 4 * outputs, side=1)
        return self.layer("PixelShuffle", [mixed], [f"{name}/shuffled"], "0=2")

    def add(self, a: str, b: str) -> str:
        return self.layer("BinaryOp", [a, b], [f"{a}+{b}"], "0=0")

    def finish(self) -> tuple[str, bytes]:
        lines, blobs = [], 0
        readers = {
            blob: sum(blob in layer[1] for layer in self._layers)
            for layer in self._layers
            for blob in layer[2]
        }
        copies_read = dict.fromkeys(readers, 0)
        for number, (kind, inputs, outputs, options) in enumerate(self._layers):
            read = []
            for blob in inputs:
                read.append(f"{blob}/{copies_read[blob]}" if readers[blob] > 1 else blob)
                copies_read[blob] += 1
            lines.append(
                f"{kind} {number} {len(read)} {len(outputs)} {' '.join([*read, *outputs])} {options}".rstrip()
            )
            blobs += len(outputs)
            for blob in outputs:
                if (times := readers[blob]) > 1:
                    copies = " ".join(f"{blob}/{copy}" for copy in range(times))
                    lines.append(f"Split {blob}/split 1 {times} {blob} {copies}")
                    blobs += times
        return "\n".join(["7767517", f"{len(lines)} {blobs}", *lines, ""]), b"".join(self._values)


def _sets(tensors: Weights, config: JointSRConfig) -> list[Weights]:
    """The weights for all blocks, and, if the configuration has them, those for restoration."""
    own = {name: value for name, value in tensors.items() if not name.startswith(RESTORATION)}
    if not config.restoration:
        return [tensors]
    return [
        own,
        {
            name.removeprefix(RESTORATION): value
            for name, value in tensors.items()
            if name.startswith(RESTORATION)
        },
    ]


def _tensors(data: bytes) -> dict[str, NDArray[np.float32]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return {key: value.astype(np.float32) for key, value in load(data).items()}
    except SafetensorError as error:
        raise ValueError(str(error)) from error
