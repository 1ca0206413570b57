"""`bbmr-client reconstruct` over folders: requests side by side, the network of this machine, and neither."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client import local
from bbmr_client.commands.transfer import transfer_line
from bbmr_client.encoding.encoder import encode
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container

Run = Callable[..., Any]
Serve = Callable[[Callable[[BaseHTTPRequestHandler, bytes], None]], str]


@pytest.fixture
def packed_folder(tmp_path: Path, rgb: Callable[..., np.ndarray]) -> Path:
    """Three containers in a tree, and a broken one."""
    folder = tmp_path / "packed"
    (folder / "sub").mkdir(parents=True)
    for index, name in enumerate(("a.bbmr", "b.bbmr", "sub/c.BBMR")):
        (folder / name).write_bytes(encode(rgb(40 + index, 30)).to_bytes())
    (folder / "bad.bbmr").write_bytes(b"no container")
    (folder / "notes.txt").write_text("x")
    return folder


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in sorted(folder.rglob("*.*")):
        if path.suffix in (".png", ".jpg", ".webp"):
            with Image.open(path) as picture:
                found[str(path.relative_to(folder))] = picture.size
    return found


def test_a_folder(run: Run, packed_folder: Path, tmp_path: Path, composite_server: str) -> None:
    out, report = tmp_path / "out", tmp_path / "r.json"
    first = run("reconstruct", packed_folder, "-o", out, "--server", composite_server, "--report", report)
    assert first.code == 1
    assert first.err.splitlines()[-1].startswith("bbmr-client: 1 of 4 containers failed, the first: ")
    assert sizes(out) == {"a.png": (40, 30), "b.png": (41, 30), "sub/c.png": (42, 30)}
    container = Container.from_bytes((packed_folder / "a.bbmr").read_bytes())
    assert np.array_equal(np.asarray(Image.open(out / "a.png")), np.asarray(preview(container)))
    row = json.loads(report.read_text())[0]
    assert (row["width"], row["height"]) == (40, 30)
    assert row["bpp"] == pytest.approx(8 * (packed_folder / "a.bbmr").stat().st_size / 1200, abs=1e-5)
    (packed_folder / "bad.bbmr").unlink()
    again = run("decode", packed_folder, "-o", out, "--server", composite_server, "--json", "--quiet")
    assert json.loads(again.out)["unchanged"] == 3
    other = run(
        "decode", packed_folder, "-o", out, "--server", composite_server, "--model", "nano", "--quiet"
    )
    assert other.code == 1
    assert "other options" in other.err


def test_format_and_region(run: Run, packed_folder: Path, tmp_path: Path, composite_server: str) -> None:
    options = ("--server", composite_server, "--format", "jpeg", "--region", "0,0,41,10", "--quiet")
    outcome = run("reconstruct", packed_folder, "-o", tmp_path / "out", *options)
    assert outcome.code == 1
    assert "2 of 4 containers failed, the first: " in outcome.err
    assert "--region" in outcome.err, "a.bbmr has 40 columns"
    assert sizes(tmp_path / "out") == {"b.jpg": (41, 10), "sub/c.jpg": (41, 10)}


@pytest.mark.parametrize("jobs", [1, 4])
def test_requests_are_kept_in_flight(
    run: Run,
    tmp_path: Path,
    serve: Serve,
    reply: Callable[..., None],
    rgb: Callable[..., np.ndarray],
    jobs: int,
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(8):
        (folder / f"{index}.bbmr").write_bytes(encode(rgb(16, 16, seed=index)).to_bytes())
    lock, now, most = threading.Lock(), 0, 0
    all_there = threading.Barrier(jobs)  # answered only once so many are on their way

    def handler(request: BaseHTTPRequestHandler, body: bytes) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        all_there.wait(30)
        data = tmp_path / f"{threading.get_ident()}.tmp"
        preview(Container.from_bytes(body)).save(data, "PNG")
        with lock:
            now -= 1
        reply(request, 200, "image/png", data.read_bytes())

    url = serve(handler)
    outcome = run("reconstruct", folder, "-o", tmp_path / "out", "--server", url, "--jobs", jobs, "--quiet")
    assert outcome.code == 0, outcome
    assert len(sizes(tmp_path / "out")) == 8
    assert most == jobs


def test_a_server_that_is_down_ends_the_run(run: Run, tmp_path: Path, packed_folder: Path) -> None:
    data = (packed_folder / "a.bbmr").read_bytes()
    for index in range(40):
        (packed_folder / f"x{index}.bbmr").write_bytes(data)
    options = ("--server", "http://127.0.0.1:9", "--retries", 0)
    outcome = run("reconstruct", packed_folder, "-o", tmp_path / "out", *options)
    assert outcome.code == 1
    assert "are left: given up after 10 failures in a row: no server at http://127.0.0.1:9" in outcome.err


def test_a_key_that_is_refused_ends_the_run(
    run: Run, tmp_path: Path, packed_folder: Path, serve: Serve, reply: Callable[..., None]
) -> None:
    data = (packed_folder / "a.bbmr").read_bytes()
    for index in range(40):
        (packed_folder / f"x{index:02}.bbmr").write_bytes(data)
    body = b'{"type": "urn:bbmr:problem:forbidden", "title": "no", "status": 403, "detail": "wrong key"}'
    url = serve(lambda request, _: reply(request, 403, "application/problem+json", body))
    outcome = run("reconstruct", packed_folder, "-o", tmp_path / "out", "--server", url)
    assert outcome.code == 1
    assert "given up after 10 failures in a row" in outcome.err


class TestLocal:
    @pytest.fixture
    def network(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """A network that adds nothing, and the threads it was called in."""
        threads: list[int] = []

        def reconstruct(given: Container, **options: object) -> Image.Image:
            threads.append(threading.get_ident())
            return preview(given)

        class Found:
            def load(self) -> object:
                return reconstruct

        monkeypatch.setattr(local, "entry_points", lambda **where: [Found()])
        return threads

    def test_one_at_a_time(self, run: Run, packed_folder: Path, tmp_path: Path, network: list[int]) -> None:
        outcome = run(
            "reconstruct", packed_folder, "-o", tmp_path / "out", "--local", "--format", "webp", "--quiet"
        )
        assert outcome.code == 1
        assert sizes(tmp_path / "out") == {"a.webp": (40, 30), "b.webp": (41, 30), "sub/c.webp": (42, 30)}
        assert set(network) == {threading.get_ident()}

    def test_jobs_make_no_sense(self, fails: Callable[..., str], packed_folder: Path, tmp_path: Path) -> None:
        options = ("-o", tmp_path / "out", "--local", "--jobs", 2)
        assert "one container at a time" in fails("reconstruct", packed_folder, *options, code=2)


def test_without_a_server(fails: Callable[..., str], packed_folder: Path, tmp_path: Path) -> None:
    assert "--server" in fails("reconstruct", packed_folder, "-o", tmp_path / "out", code=2)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_requests_are_given_up_at_a_signal(
    packed_folder: Path, tmp_path: Path, serve: Serve, number: signal.Signals, status: int
) -> None:
    asked, release = threading.Event(), threading.Event()

    def silent(request: BaseHTTPRequestHandler, body: bytes) -> None:
        asked.set()
        release.wait(60)

    url, out = serve(silent), tmp_path / "out"
    words = [sys.executable, "-m", "bbmr_client", "reconstruct", str(packed_folder), "-o", str(out)]
    process = subprocess.Popen([*words, "--server", url], stderr=subprocess.PIPE, text=True)
    assert asked.wait(30)
    sent = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    release.set()
    assert process.returncode == status, told
    assert time.monotonic() - sent < 5
    assert "interrupted" in told
    assert "Traceback" not in told
    assert not list(out.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals of POSIX")
def test_a_terminal_sees_one_exchange(packed_folder: Path, tmp_path: Path, composite_server: str) -> None:
    import pty

    ours, theirs = pty.openpty()
    words = [
        "reconstruct",
        str(packed_folder / "a.bbmr"),
        "-o",
        str(tmp_path / "a.png"),
        "--server",
        composite_server,
    ]
    process = subprocess.Popen([sys.executable, "-m", "bbmr_client", *words], stderr=theirs)
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # the other side is closed
        while piece := os.read(ours, 65536):
            seen += piece
    assert process.wait() == 0
    assert "\x1b[?25h" in seen.decode()
    assert seen.decode().splitlines()[-1].endswith(" s")
    assert sizes(tmp_path) == {"a.png": (40, 30)}


def test_what_the_line_says() -> None:
    assert transfer_line("up", 1_500_000, 3_000_000) == "1.5 MB of 3.0 MB sent"
    assert transfer_line("up", 3_000_000, 3_000_000) == "3.0 MB sent, waiting for the picture"
    assert transfer_line("down", 100_000, None) == "0.1 MB received"
