"""The files of fitted coefficients that the client ships, `predictors/NAME.json`."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def read_coefficients(name: str) -> Any:
    """Returns the value of "coefficients" in the file of this name, or None if there is no such file."""
    for path in (files("bbmr_client") / "predictors").iterdir():  # a name with slashes is that of no file
        if path.name == f"{name}.json":
            return json.loads(path.read_text())["coefficients"]
    return None
