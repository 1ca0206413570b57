"""The reference networks of Omni-SR and CRAFT, from the files of spandrel 0.4.2 but without importing spandrel.

Importing spandrel imports torchvision, which has no build beside the CPU build of torch. Its architectures do not
need it: here only their files are imported. They need einops.

    pip download --no-deps spandrel==0.4.2 && python -m zipfile -e spandrel-0.4.2-py3-none-any.whl reference
    OmniSR = load_reference(Path("reference"), "OmniSR")
    network = OmniSR(num_feat=64, res_num=5, up_scale=4)
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Literal

from torch import nn


class ReferenceMissing(RuntimeError):
    """The folder holds no such architecture, or the reference needs a package that is not installed."""


def load_reference(folder: Path, name: Literal["OmniSR", "CRAFT"]) -> type[nn.Module]:
    """Return the class of the reference network.

    Args:
        folder: the folder that holds the package `spandrel` (where the wheel was unpacked, or site-packages), or
            that package itself.
        name: which architecture.

    Raises:
        ReferenceMissing: if the file is missing or einops is not installed.
    """
    root = folder if folder.name == "spandrel" else folder / "spandrel"
    file = root / "architectures" / name / "__arch" / f"{name}.py"
    if not file.is_file():
        raise ReferenceMissing(f"{file} is missing: unpack the wheel of spandrel 0.4.2 there")
    module = f"spandrel.architectures.{name}.__arch.{name}"
    before = {key: sys.modules.pop(key) for key in list(sys.modules) if key.split(".")[0] == "spandrel"}
    try:
        # Bare packages: their __init__, which imports torchvision, never runs.
        _bare_package("spandrel", root)
        _bare_package("spandrel.architectures", root / "architectures")
        _bare_package(f"spandrel.architectures.{name}", root / "architectures" / name)
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ReferenceMissing(f"the reference {name} needs the package {error.name}") from error
    finally:
        for key in [key for key in sys.modules if key.split(".")[0] == "spandrel"]:
            del sys.modules[key]
        sys.modules.update(before)


def _bare_package(name: str, folder: Path) -> None:
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
