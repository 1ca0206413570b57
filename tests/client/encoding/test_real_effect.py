"""Strengths by the network's real output."""

from __future__ import annotations

import numpy as np

from bbmr_client.encoding.real_effect import best_strengths
from bbmr_shared.grid import BlockGrid

GRID = BlockGrid(512, 256)
PHOTO = np.full((256, 512, 3), 100, np.uint8)


def test_a_network_that_helps_everywhere() -> None:
    effect = best_strengths(PHOTO, PHOTO + 8, PHOTO + 1, GRID, 20)
    assert (effect.strength, effect.strength_map) == (2, None)
    assert effect.error > 0


def test_a_network_that_only_harms() -> None:
    effect = best_strengths(PHOTO, PHOTO, PHOTO + 3, GRID, 20)
    assert (effect.strength, effect.strength_map, effect.error) == (0, None, 0)


def test_blocks_of_both_kinds_have_strengths_of_their_own() -> None:
    base, restored = PHOTO + 8, PHOTO.copy()
    base[:, 256:], restored[:, 256:] = 100, 140
    effect = best_strengths(PHOTO, base, restored, GRID, 80)
    assert effect.strength_map is not None
    assert effect.strength_map.tolist() == [[2, 2, 0, 0]] * 2
    assert effect.error == 0


def test_a_map_must_be_worth_its_bytes() -> None:
    base, restored = PHOTO + 8, PHOTO.copy()
    base[:16, 256:272], restored[:16, 256:272] = 100, 101
    assert best_strengths(PHOTO, base, restored, GRID, 0).strength_map is None


def test_a_correction_that_goes_too_far_is_halved() -> None:
    effect = best_strengths(PHOTO, PHOTO + 6, PHOTO - 6, GRID, 20)
    assert (effect.strength, effect.strength_map, effect.error) == (1, None, 0)
