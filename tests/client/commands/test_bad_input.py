"""Bad input on the command line: each ends with one line, status 1, and nothing half-written."""

from __future__ import annotations

import builtins
import hashlib
import re
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_shared.container import Container

Fails = Callable[..., str]
Serve = Callable[[Callable[[BaseHTTPRequestHandler, bytes], None]], str]


class TestPhotos:
    """Each is tried with the default output, with a new file, and over a file that must then stay as it was."""

    @pytest.fixture
    def refused(self, fails: Fails, tmp_path: Path) -> Callable[[Path], str]:
        def call(path: Path) -> str:
            old = tmp_path / "old.bbmr"
            old.write_bytes(b"what was there")
            outputs: tuple[tuple[object, ...], ...] = ((), ("-o", tmp_path / "new.bbmr"), ("-o", old))
            lines = {fails("encode", path, *output) for output in outputs}
            assert len(lines) == 1
            assert path.name in next(iter(lines))
            return lines.pop()

        return call

    def test_not_a_picture(self, refused: Callable[[Path], str], tmp_path: Path) -> None:
        path = tmp_path / "letter.jpg"
        path.write_text("Dear reader,\nthis is no picture.")
        assert "not a picture" in refused(path)

    @pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "avif"])
    def test_a_truncated_picture(
        self, refused: Callable[[Path], str], tmp_path: Path, rgb: Callable[..., np.ndarray], ending: str
    ) -> None:
        path = tmp_path / f"half.{ending}"
        Image.fromarray(rgb(200, 200)).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert re.search("cut short|damaged", refused(path))

    def test_what_pillow_logs_is_not_shown(self, tmp_path: Path, rgb: Callable[..., np.ndarray]) -> None:
        """As a process of its own: here the test runner takes what is logged."""
        path = tmp_path / "samples.tif"
        Image.fromarray(rgb(20, 20)).save(path)
        data = path.read_bytes()
        entry = struct.pack("<HHI", 0x0115, 3, 1)  # SamplesPerPixel, one SHORT
        assert data.count(entry) == 1
        path.write_bytes(data.replace(entry + b"\3\0", entry + b"\xff\xff"))
        command = [sys.executable, "-m", "bbmr_client", "encode", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "is a damaged TIFF file" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_an_empty_file(self, refused: Callable[[Path], str], tmp_path: Path) -> None:
        path = tmp_path / "empty.jpg"
        path.touch()
        assert "0 bytes" in refused(path)

    def test_a_path_that_is_not_there(self, refused: Callable[[Path], str], tmp_path: Path) -> None:
        assert "does not exist" in refused(tmp_path / "none.jpg")

    @pytest.mark.parametrize("name", [".", "..", "/", "/..", "./"])
    def test_a_folder_without_one_for_the_results(self, fails: Fails, name: str) -> None:
        line = f"bbmr-client: {name} is a folder: name the folder for the results with -o DIR"
        assert fails("encode", name, code=2) == line

    @pytest.mark.parametrize(
        "case", ["through a file", "a dangling link", "a link to itself", "a name too long"]
    )
    def test_a_path_that_leads_nowhere(self, fails: Fails, photo: Path, tmp_path: Path, case: str) -> None:
        """Not even for root."""
        (tmp_path / "dangling.png").symlink_to("gone.png")
        (tmp_path / "loop.png").symlink_to("loop.png")
        path, words = {
            "through a file": (photo / "x.png", "not a directory"),
            "a dangling link": (tmp_path / "dangling.png", "does not exist"),
            "a link to itself": (tmp_path / "loop.png", "symbolic links"),
            "a name too long": (tmp_path / ("n" * 300 + ".png"), "name too long"),
        }[case]
        line = fails("encode", path, "-o", tmp_path / "new.bbmr")
        assert str(path) in line
        assert words in line

    def test_a_path_that_may_not_be_read(
        self, refused: Callable[[Path], str], photo: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without chmod: root, whom containers like to run tests as, may read every file."""
        really_open = builtins.open

        def denied(name: Any, *arguments: Any, **options: Any) -> Any:
            if str(name) == str(photo):
                raise PermissionError(13, "Permission denied", str(name))
            return really_open(name, *arguments, **options)

        monkeypatch.setattr(builtins, "open", denied)
        assert "permission denied" in refused(photo)

    def test_a_header_that_claims_20000_by_20000(
        self, refused: Callable[[Path], str], tmp_path: Path
    ) -> None:
        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        path = tmp_path / "bomb.png"
        header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        )
        assert "20000×20000; at most 134217728 pixels" in refused(path)

    def test_a_container(self, refused: Callable[[Path], str], packed: Path) -> None:
        path = packed.rename(packed.with_name("photo.jpg"))
        assert "is a bbmr container already" in refused(path)


DIGEST = 16
"""Bytes at the end of a container: BLAKE2b of all before."""


def truncated(data: bytes) -> bytes:
    return data[:-100]


def cut_in_header(data: bytes) -> bytes:
    return data[:40]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def wrong_version(data: bytes) -> bytes:
    at = data.index(b"\xa7version\x01") + 8
    body = data[:at] + b"\x63" + data[at + 1 : -DIGEST]
    return body + hashlib.blake2b(body, digest_size=DIGEST).digest()


def msgpack_bomb(data: bytes) -> bytes:
    """Nine bytes of header that claim four thousand million entries, each with as many."""
    return data[:8] + b"\xdf\xff\xff\xff\xff\xdd\xff\xff\xff" + bytes(16)


def text_mode(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


DAMAGES = [truncated, cut_in_header, flipped, wrong_version, msgpack_bomb, text_mode]


class TestContainers:
    @pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
    @pytest.mark.parametrize("command", ["info", "verify", "preview", "ratemap", "reconstruct", "decode"])
    def test_damaged(
        self, fails: Fails, packed: Path, tmp_path: Path, command: str, damage: Callable[[bytes], bytes]
    ) -> None:
        """Whatever would be done with it, and before any server is asked."""
        packed.write_bytes(damage(packed.read_bytes()))
        output = [] if command in ("info", "verify") else ["-o", tmp_path / "out.png"]
        server = ["--server", "http://127.0.0.1:9"] if command in ("reconstruct", "decode") else []
        line = fails(command, packed, *output, *server)
        assert packed.name in line
        assert "server" not in line

    def test_what_is_wrong_is_said(self, fails: Fails, packed: Path) -> None:
        whole = packed.read_bytes()
        words = {
            truncated: "truncated",
            flipped: "changed after writing",
            wrong_version: "version 99",
            text_mode: "signature",
        }
        for damage, word in words.items():
            packed.write_bytes(damage(whole))
            assert word in fails("verify", packed), damage

    @pytest.mark.parametrize("name", ["none.bbmr", "folder", "empty.bbmr", "photo.png"])
    def test_no_container_at_all(self, fails: Fails, photo: Path, tmp_path: Path, name: str) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "empty.bbmr").touch()
        assert name in fails("info", tmp_path / name)


class TestServers:
    @pytest.fixture
    def refused(self, fails: Fails, packed: Path, tmp_path: Path) -> Callable[..., str]:
        def call(url: str, *options: object) -> str:
            return fails(
                "reconstruct", packed, "-o", tmp_path / "out.png", "--server", url, "--retries", 0, *options
            )

        return call

    def test_down(self, refused: Callable[..., str]) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
            line = refused(url)
        assert f"no server at {url}" in line
        assert "start one with bbmr-server" in line

    def test_slow(self, refused: Callable[..., str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            line = refused(f"http://127.0.0.1:{silent.getsockname()[1]}", "--timeout", 0.3)
        assert "did not answer within 0.3 s" in line
        assert "--timeout" in line

    @pytest.mark.parametrize("address", ["http://..../", "http://a..b", f"http://{'a' * 80}.com"])
    def test_a_host_name_that_is_none(self, fails: Fails, packed: Path, tmp_path: Path, address: str) -> None:
        options = ("-o", tmp_path / "out.png", "--server", address)
        assert "is not an address of a server" in fails("reconstruct", packed, *options, code=2)

    @pytest.mark.parametrize("seconds", ["inf", "nan", "0", "-1", "1e300"])
    def test_a_timeout_that_is_none(self, fails: Fails, packed: Path, tmp_path: Path, seconds: str) -> None:
        options = ("-o", tmp_path / "out.png", "--server", "http://127.0.0.1:9", f"--timeout={seconds}")
        assert "a timeout is a positive number of seconds" in fails("reconstruct", packed, *options, code=2)

    @pytest.mark.parametrize(
        ("variable", "value"),
        [("ALL_PROXY", "socks5://host"), ("HTTP_PROXY", "foo://bar"), ("SSL_CERT_FILE", "/nonexistent")],
    )
    def test_an_environment_that_cannot_be_used(
        self,
        fails: Fails,
        packed: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
        value: str,
    ) -> None:
        monkeypatch.setenv(variable, value)
        options = ("-o", tmp_path / "out.png", "--server", "https://bbmr.invalid")
        assert variable in fails("reconstruct", packed, *options, code=2)

    def test_answering_html(
        self, refused: Callable[..., str], serve: Serve, reply: Callable[..., None]
    ) -> None:
        url = serve(lambda request, body: reply(request, 200, "text/html", b"<html>Welcome!"))
        assert "answered text/html instead of image/png" in refused(url)

    def test_answering_half_a_picture(self, refused: Callable[..., str], serve: Serve) -> None:
        def handler(request: BaseHTTPRequestHandler, body: bytes) -> None:
            request.send_response(200)
            request.send_header("Content-Type", "image/png")
            request.send_header("Content-Length", "100000")
            request.end_headers()
            request.wfile.write(b"\x89PNG\r\n\x1a\n")
            request.close_connection = True

        refused(serve(handler))

    @pytest.mark.parametrize(
        ("status", "title", "detail"),
        [
            (422, "Unknown model", "there are no weights named none; there are: light"),
            (413, "Too large", "the body has more than 1000 bytes"),
            (429, "Queue full", "try later"),
        ],
    )
    def test_refusing(
        self,
        refused: Callable[..., str],
        serve: Serve,
        reply: Callable[..., None],
        status: int,
        title: str,
        detail: str,
    ) -> None:
        body = f'{{"title": "{title}", "detail": "{detail}"}}'.encode()
        url = serve(lambda request, _: reply(request, status, "application/problem+json", body))
        assert refused(url, "--model", "none").endswith(f"refused ({status}): {title}: {detail}")


def test_the_containers_above_are_good_before_they_are_damaged(packed: Path) -> None:
    data = packed.read_bytes()
    assert Container.from_bytes(data).to_bytes() == data
    assert len({damage(data) for damage in DAMAGES} | {data}) == len(DAMAGES) + 1
