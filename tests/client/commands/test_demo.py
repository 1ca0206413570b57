"""The demo, with a stand-in for the server: what it measures and writes, and what happens when no server starts."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.commands import demo_job
from bbmr_client.encoding.encoder import encode
from bbmr_client.reports.figure import Panel, best_and_worst_details, comparison_figure
from bbmr_client.server_process import running_server
from bbmr_shared.container import Container
from bbmr_shared.errors import ServerUnreachableError

Run = Callable[..., Any]
FILES = ("photo.bbmr", "reconstruction.png", "comparison.png", "report.json")

STAND_IN = """
import http.server, os, signal, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(repr(sorted(k for k in os.environ if k.startswith("BBMR_"))).replace("'", '"').encode())
    def log_message(self, *arguments):
        pass
{before}
assert sys.argv[1:4] == ["--host", "127.0.0.1", "--port"]
http.server.HTTPServer(("127.0.0.1", int(sys.argv[4])), Ready).serve_forever()
"""


def stand_in(before: str = "") -> tuple[str, ...]:
    return (sys.executable, "-c", STAND_IN.replace("{before}", before))


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A photo with a flat half and a busy, but not random, half: 512×256."""
    y, x = np.mgrid[0:256, 0:512]
    waves = np.where(x > 256, 60 * np.sin(x / 2.2) * np.sin(y / 2.7), 0)
    path = tmp_path / "scene.png"
    Image.fromarray(np.stack([128 + waves, 120 + waves, 140 - waves], 2).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def with_server(monkeypatch: pytest.MonkeyPatch, composite_server: str) -> None:
    @contextmanager
    def running(*arguments: object, **options: object) -> Iterator[str]:
        yield composite_server

    monkeypatch.setattr(demo_job, "running_server", running)


@pytest.mark.usefixtures("with_server")
def test_what_it_writes(run: Run, scene: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    outcome = run("demo", "--photo", scene, "-o", folder, "--json")
    assert outcome.code == 0, outcome
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    told = json.loads(outcome.out)
    assert told == json.loads((folder / "report.json").read_text())
    assert [part["overall_rate"] for part in told["tables"]] == [4, 2]
    for part in told["tables"]:
        rows = {row["method"]: row for row in part["rows"]}
        assert list(rows) == ["bicubic uniform", "bicubic block-based", "light uniform", "light block-based"]
        assert rows["bicubic block-based"]["samples"] <= rows["bicubic uniform"]["samples"]
        assert rows["bicubic block-based"]["psnr_y"] > rows["bicubic uniform"]["psnr_y"]
        assert rows["light uniform"] == {**rows["bicubic uniform"], "method": "light uniform"}, "a stand-in"
    avif, composite, light = told["default"]["rows"]
    assert [row["method"] for row in (avif, composite, light)] == ["AVIF", "bicubic", "light"]
    assert light == {**composite, "method": "light"}, "a stand-in"
    assert composite["bytes"] <= avif["bytes"] + 200
    data = (folder / "photo.bbmr").read_bytes()
    assert len(data) == composite["bytes"]
    kept = Container.from_bytes(data)
    assert told["default"]["quality"] == 65
    assert data == encode(scene).to_bytes()
    with Image.open(folder / "reconstruction.png") as picture:
        assert picture.size == (kept.width, kept.height) == (512, 256)


@pytest.mark.usefixtures("with_server")
def test_the_table(run: Run, scene: Path, tmp_path: Path) -> None:
    outcome = run("demo", "--photo", scene, "-o", tmp_path / "out")
    for words in (
        "quality 65, the default",
        "AVIF",
        "PSNR-Y",
        "PSNR-RGB",
        "bicubic uniform",
        "light block-based",
        "overall rate 2",
    ):
        assert words in outcome.out
    assert "server ready" in outcome.err


class TestRefused:
    def test_a_photo_that_is_none(self, fails: Callable[..., str], tmp_path: Path) -> None:
        assert "does not exist" in fails("demo", "--photo", tmp_path / "none.jpg", "-o", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_folder_that_is_a_file(self, fails: Callable[..., str], scene: Path) -> None:
        assert "is no folder" in fails("demo", "--photo", scene, "-o", scene)


class TestServerProcess:
    def test_it_is_there_and_then_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BBMR_API_KEYS", '["secret"]')
        monkeypatch.setenv("BBMR_DEVICE", "cpu")
        import httpx

        with running_server({"BBMR_BATCH": "2"}, command=stand_in()) as url:
            assert httpx.get(url, trust_env=False).json() == ["BBMR_BATCH", "BBMR_DEVICE"]
        with pytest.raises(httpx.ConnectError):
            httpx.get(url, trust_env=False)

    def test_one_that_ends_at_once_is_told_with_its_last_words(self) -> None:
        broken = stand_in('sys.exit("bbmr-server: no weights here")')
        words = r"status 1 .*: bbmr-server: no weights here$"
        with pytest.raises(ServerUnreachableError, match=words), running_server(command=broken):
            pass

    def test_one_that_is_never_ready_is_stopped(self) -> None:
        silent = stand_in('print("loading", os.getpid(), flush=True); signal.pause()')
        started = time.monotonic()
        late = pytest.raises(ServerUnreachableError, match=r"not ready in time.* loading \d+")
        with late as caught, running_server(command=silent, start_timeout=1.5):
            pass
        assert time.monotonic() - started < 10
        with pytest.raises(ProcessLookupError):
            os.kill(int(str(caught.value).split()[-1]), 0)

    def test_it_is_stopped_when_the_work_fails(self) -> None:
        with pytest.raises(KeyboardInterrupt), running_server(command=stand_in()) as url:
            raise KeyboardInterrupt
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))


class TestFigure:
    def test_details_are_where_it_gains_and_loses_most(self) -> None:
        reference = np.full((800, 1000, 3), 100, np.uint8)
        first, second = reference.copy(), reference.copy()
        first[600:640, 700:740] = 0  # second is better here
        second[50:90, 60:100] = 255  # and worse here
        gain, loss = best_and_worst_details(reference, first, second)
        assert gain[0] <= 700 < 740 <= gain[2]
        assert gain[1] <= 600 < 640 <= gain[3]
        assert loss[0] <= 60 < 100 <= loss[2]
        assert loss[1] <= 50 < 90 <= loss[3]

    @pytest.mark.parametrize("size", [(1, 1), (127, 129), (2000, 40), (40, 2000)])
    def test_every_size_fits(self, size: tuple[int, int]) -> None:
        picture = Image.new("RGB", size, (10, 200, 30))
        samples = np.asarray(picture)
        panel = Panel("title", ("a line", "another"), picture, (("rate 4", (1, 2, 3)),))
        figure = comparison_figure([panel, panel], best_and_worst_details(samples, samples, samples))
        assert figure.width < 1400
        colours = {colour for _, colour in figure.getcolors(1 << 20) or []}
        assert (1, 2, 3) in colours
