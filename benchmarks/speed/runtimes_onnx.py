"""The ONNX runtimes of `benchmarks.speed.runtimes`: export, 8-bit quantisation, and networks that run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bbmr_models.cards import read
from bbmr_models.inference.planar_network import INPUTS, Features, PlanarNetwork, fold, inputs
from benchmarks.common import read_rgb

from .runtimes_tiles import save_tile, tile_of

FLOAT, INT8 = "network.onnx", "network-int8.onnx"
CROP = 256
CROPS = 24


class OnnxNetwork(PlanarNetwork):
    """A network whose convolutions are run by a function of `[1, C, h, w]`."""

    def __init__(self, infer: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self.config = read("light")[1].config
        self._infer = infer

    def correct(self, canvas: Features, restoration: bool) -> Features:
        assert not restoration
        return np.array(self._infer(canvas[None])[0])


def make_onnx(kind: str, threads: int, folder: Path) -> OnnxNetwork:
    """Return the network of an ONNX kind."""
    path = str(folder / (INT8 if kind.endswith("int8") else FLOAT))
    if kind.startswith("onnxruntime"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return OnnxNetwork(lambda canvas: session.run(None, {"canvas": canvas})[0])
    import openvino

    precision = "bf16" if kind.endswith("bfloat16") else "f32"
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return OnnxNetwork(lambda canvas: request.infer([canvas])[0])


def export(folder: Path) -> None:
    """Write the convolutions of `light` as ONNX."""
    import torch
    from torch import Tensor, nn
    from torch.export import Dim

    from bbmr_models import load
    from bbmr_models.unet import JointUNet

    class Convolutions(nn.Module):
        def __init__(self, model: JointUNet) -> None:
            super().__init__()
            self.model = model

        def forward(self, canvas: Tensor) -> Tensor:
            out: Tensor = self.model.head(self.model.features(self.model.stem(canvas)))
            return out

    model = load("light").eval()
    assert isinstance(model, JointUNet)
    torch.onnx.export(
        Convolutions(model),
        (torch.zeros(1, INPUTS, 64, 48),),
        str(folder / FLOAT),
        dynamo=True,
        dynamic_shapes=({2: 8 * Dim("h"), 3: 8 * Dim("w")},),
        external_data=False,
        input_names=["canvas"],
        verbose=False,
    )


def quantise(folder: Path, pictures: list[Path]) -> None:
    """Write it with 8-bit weights (one scale per channel) and activations (range over crops of `pictures`)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class CalibrationCrops(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = crops(folder, pictures)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._left, None)

    quantize_static(
        str(folder / FLOAT),
        str(folder / INT8),
        CalibrationCrops(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def crops(folder: Path, pictures: list[Path]) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield the inputs of the convolutions for the middles of evenly chosen photos, at several overall rates."""
    step = max(1, len(pictures) // CROPS)
    for number, path in enumerate(pictures[::step][:CROPS]):
        tile_path = folder / "crop.npz"
        save_tile(tile_path, read_rgb(path), CROP, CROP, (2.0, 4.0, 8.0)[number % 3])
        tile, _ = tile_of(tile_path)
        yield {"canvas": inputs(tile, fold(tile.base))[None]}
