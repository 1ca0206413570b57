"""The engine makes coded pictures from containers. It is bounded, runs beside the event loop and knows no HTTP.

The rest of the server uses `Engine` and the plain data of `request`. The other modules are parts of the engine.
"""

from __future__ import annotations

from .engine import Engine
from .request import STAGES, Answer, PictureRequest

__all__ = ["STAGES", "Answer", "Engine", "PictureRequest"]
