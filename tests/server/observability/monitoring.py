"""For the tests of metrics, dashboard and alerts: a metrics page on which every event has been counted once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bbmr_shared.container import MEDIA_TYPE


async def full_page(
    make_bench: Callable[..., Any], connect: Any, body: bytes, folder: Path
) -> tuple[str, bool]:
    """Returns the page of a server with all features, and whether it has a store."""
    has_store = importlib.util.find_spec("obstore") is not None
    settings: dict[str, Any] = {"rate_limit": "1000/minute"}
    if has_store:
        settings |= {"store": str(folder / "containers"), "picture_cache": str(folder / "pictures")}
    bench = make_bench(**settings)
    observer = bench.app.state.bbmr.metrics.observer
    observer.worker("cpu", "ready")
    observer.batch("cpu", "light", 4, 4096, 0.5)
    observer.memory("cpu", 1 << 30)
    observer.halved("cpu", 2)
    async with connect(bench) as client:
        await client.post("/reconstruct", content=body, headers={"Content-Type": MEDIA_TYPE})
        return (await client.get("/metrics")).text, has_store
