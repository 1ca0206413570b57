"""What the engine learns about its speed, and what it estimates from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_server.engine.estimate import Estimate
from bbmr_server.engine.request import PictureRequest
from bbmr_server.engine.throughput import GUESSES, MOST, Throughput
from bbmr_shared.container import Container
from tests.server.fakes import fake_model

NETWORK = ("network", "light")


@pytest.fixture(scope="module")
def large() -> Container:
    samples = np.random.default_rng(1).integers(0, 255, (960, 1280, 3), dtype=np.uint8)
    return encode(Image.fromarray(samples), rate=4.0)


def test_a_guess_until_something_is_measured_then_what_was_measured_lately() -> None:
    throughput = Throughput()
    assert throughput.seconds(NETWORK, 1e6) == pytest.approx(GUESSES["network"] * 1e6)
    for seconds in (1.0, 3.0):
        for _ in range(200):
            throughput.add(NETWORK, 1e6, seconds)
        assert throughput.seconds(NETWORK, 2e6) == pytest.approx(2 * seconds, rel=0.01)
    assert throughput.seconds(("network", "omnisr"), 1e6) == pytest.approx(GUESSES["network"] * 1e6)


def test_one_slow_measurement_counts_little_and_many_count_fully() -> None:
    throughput = Throughput()
    for _ in range(100):
        throughput.add(NETWORK, 1e6, 0.1)
    throughput.add(NETWORK, 1e6, 60.0)  # it compiled, or the machine stood still
    assert throughput.seconds(NETWORK, 1e6) < 0.15
    for _ in range(60):
        throughput.add(NETWORK, 1e6, 60.0)
    assert throughput.seconds(NETWORK, 1e6) == pytest.approx(60, rel=0.2)


def test_nothing_done_teaches_nothing() -> None:
    throughput = Throughput()
    throughput.add(NETWORK, 0, 100.0)
    assert throughput.seconds(NETWORK, 1e6) == pytest.approx(GUESSES["network"] * 1e6)
    assert MOST > 1


def test_a_picture_takes_its_share_of_every_device_and_thread(large: Container) -> None:
    weights = fake_model("light")
    one = Estimate(PictureRequest(large), weights, Throughput(), devices=1, threads=1).seconds()
    assert Estimate(
        PictureRequest(large), weights, Throughput(), devices=2, threads=2
    ).seconds() == pytest.approx(one / 2)


def test_it_gets_shorter_with_every_step(large: Container) -> None:
    estimate = Estimate(PictureRequest(large), fake_model("light"), Throughput(), 1, 2)
    steps = [
        estimate.seconds(),
        estimate.seconds(decoding=False),
        estimate.seconds(decoding=False, tiles=0.5),
        estimate.seconds(decoding=False, tiles=0),
    ]
    assert steps == sorted(steps, reverse=True)
    assert len(set(steps)) == 4
    assert steps[-1] > 0


def test_what_costs_less_is_expected_to(large: Container) -> None:
    def seconds(network: bool = True, **wanted: object) -> float:
        weights = fake_model("light") if network else None
        return Estimate(replace(PictureRequest(large), **wanted), weights, Throughput(), 1, 1).seconds()  # type: ignore[arg-type]

    whole = seconds()
    assert seconds(region=(100, 100, 64, 64)) < whole / 4
    assert seconds(network=False) < whole / 2
    assert seconds(network=False, max_side=64) < seconds(network=False)


def test_every_set_of_weights_has_its_own_throughput(large: Container) -> None:
    throughput = Throughput()
    for _ in range(100):
        throughput.add(("network", "slow"), 1e6, 2.0)
    light = Estimate(PictureRequest(large), fake_model("light"), throughput, 1, 1).seconds()
    slow = Estimate(PictureRequest(large), fake_model("slow"), throughput, 1, 1).seconds()
    assert slow > 4 * light
