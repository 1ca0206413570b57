"""The real weights: loaded as the settings say, and used from the bytes of a container to the picture."""

from __future__ import annotations

import asyncio
import fnmatch
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from bbmr_client.encoding.encoder import encode
from bbmr_client.http import Client
from bbmr_models import load
from bbmr_models.cards import SHIPPED
from bbmr_models.reconstruct import Reconstructor
from bbmr_server import loading
from bbmr_server.app import create_app
from bbmr_server.engine import Engine
from bbmr_server.engine.request import PictureRequest
from bbmr_server.loading import find_devices, known_models, make_engine
from bbmr_server.settings import Settings
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import MEDIA_TYPE, Container
from bbmr_shared.errors import UnknownModelError, UsageError

CPU = ("cpu",)


@pytest.fixture
def keep_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def larger() -> Container:
    """700×520: more than one tile of the network, several rates."""
    y, x = np.mgrid[0:520, 0:700].astype(np.float64)
    waves = np.stack([np.sin(x * x / 9000), np.cos(y * x / 7000), np.sin((x + y) / 15)], axis=-1)
    return encode(Image.fromarray((waves * 100 + 128).astype(np.uint8)), rate=3.0)


@pytest.fixture(scope="module")
def offline(larger: Container) -> Image.Image:
    """The same picture made without a server."""
    return Reconstructor(load("light")).reconstruct(larger)


def largest_difference(a: Image.Image, b: Image.Image) -> int:
    assert a.size == b.size
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


def make(engine: Engine, requests: list[PictureRequest]) -> list[Image.Image]:
    """Start an engine, make the pictures of all requests at once, and stop it."""

    async def run() -> list[Any]:
        while not engine.ready:
            assert engine.failure is None
            await asyncio.sleep(0.02)
        return await asyncio.gather(*(engine.reconstruct(request) for request in requests))

    engine.start()
    try:
        return [Image.open(io.BytesIO(answer.data)) for answer in asyncio.run(run())]
    finally:
        engine.stop(5)


def test_the_network_is_really_used(larger: Container, offline: Image.Image) -> None:
    assert largest_difference(offline, preview(larger)) > 0


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_batch_and_other_requests_do_not_change_the_picture(
    keep_threads: None, larger: Container, offline: Image.Image, threads: int
) -> None:
    engine = make_engine(Settings(device=CPU, threads=threads, batch=threads))
    requests = [
        PictureRequest(larger),
        PictureRequest(larger, region=(300, 200, 333, 301)),
        PictureRequest(larger),
    ]
    first, part, second = make(engine, requests)
    assert largest_difference(first, offline) <= 1
    assert largest_difference(second, offline) <= 1
    assert largest_difference(part, offline.crop((300, 200, 633, 501))) <= 1


@pytest.mark.parametrize("size", [(1, 1), (127, 129), (640, 3)])
def test_odd_sizes_with_everything_a_photo_carries(size: tuple[int, int]) -> None:
    photo = Image.new("RGBA", size, (200, 30, 90, 77))
    photo.info["icc_profile"] = icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (picture,) = make(make_engine(Settings(device=CPU)), [PictureRequest(encode(photo, rate=2.0))])
    assert (picture.size, picture.mode, picture.info["icc_profile"]) == (size, "RGBA", icc)
    assert largest_difference(picture, photo) <= 3  # a flat picture stays flat


def test_over_http_it_is_the_same_picture(
    listen: Any, larger: Container, offline: Image.Image, wait_for: Callable[..., None]
) -> None:
    app = create_app(Settings(device=CPU))
    with listen(app) as port, Client(f"http://127.0.0.1:{port}") as client:
        wait_for(client.ready, 60)
        picture = client.reconstruct(larger)
        assert largest_difference(picture, offline) <= 1
        light = client.models()[0]
    assert (light.name, light.architecture, light.is_default) == ("light", "JointSR/light", True)
    assert light.parameters is not None
    assert light.parameters > 1000
    assert re.fullmatch("[0-9a-f]{64}", light.sha256 or "")


def test_health_answers_while_the_real_network_works(
    listen: Any, larger: Container, wait_for: Callable[..., None]
) -> None:
    app = create_app(Settings(device=CPU))
    headers = {"Content-Type": MEDIA_TYPE}
    with listen(app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, 60)
        statuses: list[int] = []

        def post() -> None:
            statuses.append(
                httpx.post(
                    f"{client.base_url}/reconstruct", content=data, headers=headers, timeout=60
                ).status_code
            )

        data = larger.to_bytes()
        posts = [threading.Thread(target=post) for _ in range(3)]
        for thread in posts:
            thread.start()
        seconds = []
        while any(thread.is_alive() for thread in posts):
            began = time.perf_counter()
            assert client.get("/healthz").status_code == 200
            seconds.append(time.perf_counter() - began)
            time.sleep(0.01)
        assert statuses == [200, 200, 200]
        assert len(seconds) > 3
        assert sorted(seconds)[len(seconds) // 2] < 0.1


def test_the_command_serves_and_stops(larger: Container, offline: Image.Image) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BBMR_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "bbmr_server.main", "serve", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "BBMR_DEVICE": "cpu", "BBMR_LOG_FORMAT": "json"},
    )
    try:
        assert process.stderr is not None
        about, message = (json.loads(process.stderr.readline())["message"] for _ in range(2))
        assert about.startswith("bbmr-server ")
        assert re.fullmatch(r"listening on http://127\.0\.0\.1:\d+", message)
        reader = threading.Thread(target=process.stderr.read)
        with Client(message.split()[-1]) as client:
            reader.start()
            limit = time.monotonic() + 60
            while not client.ready():
                assert time.monotonic() < limit
                time.sleep(0.05)
            assert largest_difference(client.reconstruct(larger), offline) <= 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(25) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    reader.join(5)


def test_missing_weights_are_named_before_anything_starts() -> None:
    with pytest.raises(
        UnknownModelError, match="BBMR_MODEL: no model 'nosuch'; available: craft, light, omnisr"
    ):
        make_engine(Settings(model=("nosuch",)))


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "count_gpus", lambda: 0)
    assert find_devices(("auto",)) == CPU
    assert find_devices(CPU) == CPU
    for wanted in (("cuda",), ("cuda:0",)):
        with pytest.raises(UsageError, match="BBMR_DEVICE"):
            find_devices(wanted)
    monkeypatch.setattr(loading, "count_gpus", lambda: 2)
    assert find_devices(("auto",)) == ("cuda:0", "cuda:1")
    assert find_devices(("cuda:1",)) == ("cuda:1",)
    with pytest.raises(UsageError, match="cuda:2"):
        find_devices(("cuda:0", "cuda:2"))


def test_gpus_are_counted_as_torch_sees_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "driver").touch()
    monkeypatch.setattr(loading, "DRIVERS", (str(tmp_path / "driver"),))
    assert loading.count_gpus() == (torch.cuda.device_count() if torch.cuda.is_available() else 0)


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("/dev/nvidiactl", True),
        ("/dev/dxg", True),  # Windows Subsystem for Linux
        ("/dev/kfd", True),  # AMD, ROCm
        ("/dev/nvmap", True),  # Jetson
        ("/dev/nvhost-ctrl-gpu", True),  # Jetson
        ("/dev/dri/card0", False),  # any display
    ],
)
def test_torch_is_asked_only_where_there_is_a_driver(
    monkeypatch: pytest.MonkeyPatch, file: str, found: bool
) -> None:
    asked: list[Any] = []

    def run(command: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "3\n", "")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(loading.glob, "glob", lambda pattern: fnmatch.filter([file], pattern))
    monkeypatch.setattr(loading.subprocess, "run", run)
    assert loading.count_gpus() == (3 if found else 0)
    assert len(asked) == found


def test_beside_a_gpu_the_stages_have_a_thread_for_every_cpu_of_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "find_devices", lambda wanted: ("cuda:0",))
    for cpus, threads in ((1, 2), (5, 5), (64, 16)):
        monkeypatch.setattr(loading, "available_cpus", lambda cpus=cpus: cpus)
        assert make_engine(Settings())._stage_threads == threads
    assert make_engine(Settings(stage_threads=3))._stage_threads == 3


def test_the_network_has_as_many_threads_as_the_container_has_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    launchers: list[Any] = []
    monkeypatch.setattr(loading, "Engine", lambda launcher, *_, **__: launchers.append(launcher))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for cpus in (2, 64):
        monkeypatch.setattr(loading, "available_cpus", lambda cpus=cpus: cpus)
        make_engine(Settings(device=CPU))
    make_engine(Settings(device=CPU, threads=5))
    assert [one.threads for one in launchers] == [2, 0, 5]  # 0: the runtime's own number


def test_the_process_that_serves_has_no_torch() -> None:
    script = (
        "import sys; from bbmr_server.app import create_app; from bbmr_server.settings import Settings; "
        "create_app(Settings(device='cpu')); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"


def test_missing_torch_is_reported_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in ("torch", "ncnn") else find(name)
    )
    with pytest.raises(ModuleNotFoundError) as caught:
        make_engine(Settings(device=CPU))
    assert caught.value.name == "torch"


def test_weights_in_a_folder_of_ones_own_go_first(tmp_path: Path) -> None:
    (tmp_path / "light.safetensors").write_bytes((SHIPPED / "omnisr.safetensors").read_bytes())
    engine = make_engine(Settings(device=CPU, model_dir=str(tmp_path)))
    assert engine.catalogue["light"]["architecture"] == "JointSR/omnisr"
    assert known_models(str(tmp_path)) == ["craft", "light", "omnisr"]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="BBMR_MODEL_DIR: there is no folder"):
        make_engine(Settings(device=CPU, model_dir=str(tmp_path / "modles")))


def test_cards_are_plain_data() -> None:
    cards = dict(make_engine(Settings(device=CPU, model=("light", "craft"))).catalogue)
    assert list(cards) == ["light", "craft"]
    assert httpx.Response(200, json=cards).json() == cards
