"""The engine: containers in, coded pictures out; bounded, off the event loop, and without any HTTP.

`Engine` is all that the rest of the server uses, with the plain data of `work`; the other modules are its parts.
"""

from __future__ import annotations

from .engine import Engine
from .request import STAGES, Answer, Work

__all__ = ["STAGES", "Answer", "Engine", "Work"]
