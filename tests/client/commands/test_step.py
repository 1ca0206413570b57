"""`encode(step=…)`: how an encoding is given up half-way."""

from __future__ import annotations

import numpy as np
import pytest

from bbmr_client.encoding.encoder import encode


class LeftError(Exception):
    """What the caller raises."""


def test_what_a_step_raises_ends_the_encoding() -> None:
    photo = np.random.default_rng(1).integers(0, 255, (260, 300, 3)).astype(np.uint8)
    steps: list[int] = []
    container = encode(photo, rate=3, step=lambda: steps.append(1))
    assert container == encode(photo, rate=3)
    assert len(steps) > len(container.planes)
    for last in range(len(steps)):
        left = [last]

        def step(left: list[int] = left) -> None:
            if not left[0]:
                raise LeftError
            left[0] -= 1

        with pytest.raises(LeftError):
            encode(photo, rate=3, step=step)
