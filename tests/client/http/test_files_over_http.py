"""Containers from disk and pictures to disk: in pieces, complete or not at all, with progress and limits."""

from __future__ import annotations

import io
import os
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bbmr_client import Client, Retries
from bbmr_client.files import FileAccessError
from bbmr_shared.container import Container
from bbmr_shared.errors import (
    BadAnswerError,
    BbmrError,
    LimitExceededError,
    ServerRefusedError,
    ServerTimeoutError,
    UsageError,
)
from bbmr_shared.limits import DEFAULT_LIMITS
from tests.client.http.call import call as call_client
from tests.client.http.scripted import Step, answer, hang_up, long_png, picture, png, refusal, scripted

AT_ONCE = Retries(2, first_wait=0.0)


@pytest.fixture
def call(kind: str) -> Callable[..., Any]:
    """Call a method of the sync or the async client."""
    return partial(call_client, kind, timeout=20, retries=AT_ONCE)


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


class TestSent:
    def test_the_name_of_a_file(self, call: Callable[..., Any], packed: Path) -> None:
        with scripted(picture()) as (url, seen):
            for name in (packed, str(packed)):
                assert call(url, "reconstruct", name).size == (300, 200)
        assert set(seen.bodies) == {digest(packed.read_bytes())}
        assert seen.headers[0]["Content-Length"] == str(packed.stat().st_size)

    def test_an_open_file_from_where_it_stands(
        self, call: Callable[..., Any], packed: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "more").write_bytes(b"before" + packed.read_bytes())
        with scripted(picture()) as (url, seen), open(tmp_path / "more", "rb") as file:
            file.seek(6)
            call(url, "reconstruct", file)
            assert not file.closed
        assert seen.bodies == [digest(packed.read_bytes())]

    def test_a_pipe(self, call: Callable[..., Any], packed: Path) -> None:
        data = packed.read_bytes()
        end, start = os.pipe()

        def write() -> None:
            with open(start, "wb") as file:
                file.write(data)

        threading.Thread(target=write).start()
        with scripted(hang_up, picture()) as (url, seen), open(end, "rb") as file:
            call(url, "reconstruct", file)
        assert seen.bodies == [digest(data)] * 2

    def test_a_further_try_sends_the_whole_again(self, call: Callable[..., Any], packed: Path) -> None:
        with scripted(refusal(503), hang_up, picture()) as (url, seen):
            call(url, "reconstruct", packed)
        assert seen.bodies == [digest(packed.read_bytes())] * 3

    def test_the_size_of_the_picture_is_known_from_the_file(self, packed: Path) -> None:
        with scripted(picture(301, 200)) as (url, _), pytest.raises(BadAnswerError, match="not 300×200"):
            Client(url).reconstruct(packed)

    def test_what_cannot_be_read_is_for_the_server_to_judge(self, tmp_path: Path) -> None:
        (tmp_path / "words").write_bytes(b"words")
        with scripted(refusal(400, "No container")) as (url, _), pytest.raises(ServerRefusedError):
            Client(url).reconstruct(tmp_path / "words")

    @pytest.mark.parametrize(
        ("name", "words"), [("none", "none does not exist"), ("", "is a folder"), ("void", "0 bytes")]
    )
    def test_no_file(self, call: Callable[..., Any], tmp_path: Path, name: str, words: str) -> None:
        (tmp_path / "void").touch()
        with scripted(picture()) as (url, seen), pytest.raises(FileAccessError, match=words):
            call(url, "reconstruct", tmp_path / name)
        assert seen.count == 0

    def test_a_file_of_text(self, packed: Path) -> None:
        with open(packed, encoding="latin-1") as file, pytest.raises(UsageError, match="'rb'"):
            Client("http://127.0.0.1:9").reconstruct(file)  # type: ignore[arg-type]

    def test_nothing_of_the_kind(self) -> None:
        with pytest.raises(UsageError, match="not int"):
            Client("http://127.0.0.1:9").reconstruct(5)  # type: ignore[arg-type]

    def test_a_file_that_becomes_shorter(self, packed: Path) -> None:
        class Shrinking(io.BytesIO):
            def read(self, most: int | None = -1, /) -> bytes:
                return b"" if self.tell() and most != 64 << 10 else super().read(most)

        data = packed.read_bytes() + bytes(1 << 20)
        with scripted(picture()) as (url, _), pytest.raises(FileAccessError, match="became shorter"):
            Client(url, 20, retries=0).reconstruct(Shrinking(data))

    def test_more_than_a_container_may_have(self, packed: Path) -> None:
        data = packed.read_bytes()
        limits = replace(DEFAULT_LIMITS, max_container_bytes=len(data) - 1)
        end, start = os.pipe()
        os.write(start, data[:1000])
        os.close(start)
        small = replace(DEFAULT_LIMITS, max_container_bytes=999)
        with scripted(picture()) as (url, seen), open(end, "rb") as pipe:
            for source, most in ((data, limits), (packed, limits), (io.BytesIO(data), limits), (pipe, small)):
                with pytest.raises(LimitExceededError):
                    Client(url, limits=most).reconstruct(source)
        assert seen.count == 0


class TestSaved:
    @pytest.mark.parametrize("format", ["png", "webp", "avif", "jpeg"])
    def test_the_ending_says_the_format(
        self, call: Callable[..., Any], format: str, packed: Path, composite_server: str, tmp_path: Path
    ) -> None:
        target = tmp_path / f"out.{format}"
        saved = call(composite_server, "reconstruct_to", packed, target)
        assert (saved.width, saved.height, saved.total) == (300, 200, target.stat().st_size)
        assert saved.mime == f"image/{format}"
        with Image.open(target) as there:
            assert there.format == format.upper()
            there.load()

    def test_a_region_in_a_given_format(self, packed: Path, composite_server: str, tmp_path: Path) -> None:
        with Client(composite_server) as client:
            saved = client.reconstruct_to(packed, str(tmp_path / "out"), "webp", region=(1, 2, 30, 40))
        assert (saved.width, saved.height) == (30, 40)
        assert Image.open(tmp_path / "out").size == (30, 40)

    def test_an_open_file(self, call: Callable[..., Any], packed: Path, composite_server: str) -> None:
        target = io.BytesIO(b"")
        call(composite_server, "reconstruct_to", packed, target, "jpeg")
        assert Image.open(io.BytesIO(target.getvalue())).size == (300, 200)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_pipe_with_a_name(self, packed: Path, composite_server: str, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        taken: list[bytes] = []
        reader = threading.Thread(target=lambda: taken.append((tmp_path / "pipe").read_bytes()))
        reader.start()
        with Client(composite_server) as client:
            client.reconstruct_to(packed, tmp_path / "pipe", "png")
        reader.join(5)
        assert Image.open(io.BytesIO(taken[0])).size == (300, 200)

    @pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
    def test_permissions(self, packed: Path, composite_server: str, tmp_path: Path) -> None:
        (tmp_path / "old.png").write_bytes(b"old")
        (tmp_path / "old.png").chmod(0o640)
        before = os.umask(0o027)
        try:
            with Client(composite_server) as client:
                for name in ("old.png", "new.png"):
                    client.reconstruct_to(packed, tmp_path / name)
        finally:
            os.umask(before)
        assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("old.png", "new.png")] == [0o640] * 2

    @pytest.mark.parametrize(
        "step",
        [
            refusal(422),
            refusal(503),
            hang_up,
            lambda request: close_delimited(png(300, 200)[:-60])(request),
            picture(10, 10),
            answer(200, "image/jpeg", png(300, 200)),
            answer(200, "image/png", b"words"),
            answer(200, "image/png", b""),
            answer(200, "image/png", bytes(20 << 20), Content_Length=str(20 << 20)),
        ],
    )
    @pytest.mark.parametrize("before", [None, b"old"])
    def test_after_a_failure_all_is_as_it_was(
        self, call: Callable[..., Any], step: Step, before: bytes | None, packed: Path, tmp_path: Path
    ) -> None:
        target, opened = tmp_path / "out" / "out.png", io.BytesIO()
        target.parent.mkdir()
        if before is not None:
            target.write_bytes(before)
        with scripted(step) as (url, _):
            for place in (target, opened):
                with pytest.raises(BbmrError):
                    call(url, "reconstruct_to", packed, place)
        assert [path.read_bytes() for path in target.parent.iterdir()] == ([] if before is None else [before])
        assert opened.getvalue() == b""

    def test_too_late(self, call: Callable[..., Any], packed: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        gone = threading.Event()

        def drip(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Type", "image/png")
            request.send_header("Content-Length", "100000")
            request.end_headers()
            while not gone.wait(0.02):
                request.wfile.write(b".")

        with scripted(drip) as (url, _), pytest.raises(ServerTimeoutError, match="did not finish its answer"):
            call(url, "reconstruct_to", packed, tmp_path / "out" / "out.png", timeout=0.3)
        gone.set()
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_folder_that_is_not_there(self, packed: Path, tmp_path: Path) -> None:
        with scripted(picture()) as (url, seen), pytest.raises(FileAccessError, match="cannot be written"):
            Client(url).reconstruct_to(packed, tmp_path / "none" / "out.png")
        assert seen.count == 0

    @pytest.mark.parametrize("name", ["out", "out.gif"])
    def test_an_ending_that_says_nothing(self, packed: Path, tmp_path: Path, name: str) -> None:
        with pytest.raises(UsageError, match="names no picture format"):
            Client("http://127.0.0.1:9").reconstruct_to(packed, tmp_path / name)


def close_delimited(body: bytes) -> Step:
    """Only the end of the connection ends this response."""

    def step(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "image/png")
        request.end_headers()
        request.wfile.write(body)
        request.close_connection = True

    return step


class TestMemory:
    MOST = 12 << 20
    LONG = 96 << 20

    def test_both_ways_it_stays_flat(self, call: Callable[..., Any], tmp_path: Path) -> None:
        start, end = long_png(16_000, 8000, self.LONG)
        piece = bytes(1 << 20)

        def step(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Type", "image/png")
            request.send_header("Content-Length", str(len(start) + self.LONG + len(end)))
            request.end_headers()
            request.wfile.write(start)
            for _ in range(self.LONG // len(piece)):
                request.wfile.write(piece)
            request.wfile.write(end)

        with open(tmp_path / "long.bbmr", "wb") as file:
            file.truncate(self.LONG)
        with scripted(step) as (url, seen):
            tracemalloc.start()
            saved = call(
                url,
                "reconstruct_to",
                tmp_path / "long.bbmr",
                tmp_path / "out.png",
                region=(0, 0, 16_000, 8000),
            )
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert seen.bodies == [digest(bytes(self.LONG))]
        assert saved.total == (tmp_path / "out.png").stat().st_size > self.LONG
        assert peak < self.MOST


class TestProgress:
    def test_it_goes_on_to_the_end(
        self, call: Callable[..., Any], composite_server: str, packed: Path, tmp_path: Path
    ) -> None:
        told: list[tuple[str, int, int | None]] = []
        call(
            composite_server,
            "reconstruct_to",
            packed,
            tmp_path / "out.png",
            progress=lambda *how_far: told.append(how_far),
        )
        up = [(done, total) for direction, done, total in told if direction == "up"]
        down = [(done, total) for direction, done, total in told if direction == "down"]
        size, answered = packed.stat().st_size, (tmp_path / "out.png").stat().st_size
        assert up[0] == (0, size)
        assert up[-1] == (size, size)
        assert down[-1] == (answered, answered)
        assert up == sorted(up)
        assert down == sorted(down)

    def test_a_further_try_takes_nothing_back(self, container: Container) -> None:
        long = container.to_bytes() + bytes(1 << 20)
        told: list[tuple[str, int]] = []
        with (
            scripted(refusal(503), hang_up, picture()) as (url, seen),
            Client(url, 20, retries=AT_ONCE) as client,
        ):
            client.reconstruct_bytes(
                long, region=(0, 0, 300, 200), progress=lambda *far: told.append(far[:2])
            )
        assert seen.count == 3
        for direction in ("up", "down"):
            done = [how_far for way, how_far in told if way == direction]
            assert done == sorted(set(done))

    def test_a_length_that_nobody_said(self, container: Container) -> None:
        totals = set()
        with scripted(close_delimited(png(300, 200))) as (url, _), Client(url) as client:
            client.reconstruct(container, progress=lambda way, done, total: totals.add((way, total)))
        assert ("down", None) in totals

    def test_what_it_raises_ends_the_exchange(
        self, call: Callable[..., Any], packed: Path, composite_server: str, tmp_path: Path
    ) -> None:
        class EnoughError(Exception):
            pass

        def progress(direction: str, done: int, total: int | None) -> None:
            if direction == "down":
                raise EnoughError

        with pytest.raises(EnoughError):
            call(composite_server, "reconstruct_to", packed, tmp_path / "out.png", progress=progress)
        assert not (tmp_path / "out.png").exists()
        assert not list(tmp_path.glob(".bbmr-*"))
