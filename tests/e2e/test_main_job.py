"""The main job over real HTTP: client and server in separate processes, a real photo, the shipped weights."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from bbmr_client import AsyncClient, Client
from bbmr_client.encoding.encoder import encode
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.errors import ServerRefusedError
from bbmr_shared.metrics import compare

MIME = "application/vnd.bbmr"
Run = Callable[..., tuple[int, str, str]]


def post(server: str, body: bytes, mime: str = MIME, **options: object) -> httpx.Response:
    headers = {"Content-Type": mime, **options.pop("headers", {})}  # type: ignore[dict-item]
    with httpx.Client(timeout=120, trust_env=False) as http:
        return http.post(server + "/reconstruct", content=body, headers=headers, **options)  # type: ignore[arg-type]


class TestReconstruction:
    def test_it_is_better_than_the_composite(
        self, server: str, container: Container, detail: np.ndarray
    ) -> None:
        with Client(server) as client:
            picture = np.asarray(client.reconstruct(container))
        light, plain = (
            compare(detail, picture)["psnr_y"],
            compare(detail, np.asarray(preview(container)))["psnr_y"],
        )
        assert light is not None
        assert plain is not None
        assert light > plain + 0.3

    def test_block_based_beats_uniform(self, server: str, container: Container, detail: np.ndarray) -> None:
        even = encode(detail, rate=4, uniform=True)
        assert container.samples <= even.samples
        with Client(server) as client:
            blocks, uniform = (np.asarray(client.reconstruct(each)) for each in (container, even))
        assert (compare(detail, blocks)["psnr_y"] or 0) > (compare(detail, uniform)["psnr_y"] or 99)

    def test_async_answers_the_same_and_several_at_once(self, server: str, container: Container) -> None:
        async def ask() -> list[Image.Image]:
            async with AsyncClient(server) as client:
                return await asyncio.gather(*(client.reconstruct(container) for _ in range(3)))

        with Client(server) as client:
            expected = np.asarray(client.reconstruct(container)).astype(int)
        for picture in asyncio.run(ask()):
            assert np.abs(np.asarray(picture) - expected).max() <= 1

    def test_a_region_is_cut_from_the_whole(self, server: str, container: Container) -> None:
        with Client(server) as client:
            whole = np.asarray(client.reconstruct(container)).astype(int)
            part = np.asarray(client.reconstruct(container, region=(101, 57, 213, 99)))
        assert np.abs(whole[57:156, 101:314] - part).max() <= 1

    def test_strength_zero_is_the_composite_bit_for_bit(self, server: str, container: Container) -> None:
        plain = replace(container, strength=0, strength_map=None)
        with Client(server) as client:
            assert np.array_equal(np.asarray(client.reconstruct(plain)), np.asarray(preview(plain)))

    @pytest.mark.parametrize("size", [(1, 1), (127, 129), (17, 300)])
    def test_odd_sizes(self, server: str, detail: np.ndarray, size: tuple[int, int]) -> None:
        small = np.ascontiguousarray(detail[: min(size[1], 300), : size[0]])
        with Client(server) as client:
            for options in ({"rate": 4}, {}):
                assert client.reconstruct(encode(small, **options)).size == (small.shape[1], small.shape[0])

    @pytest.mark.parametrize("format", ["png", "webp", "avif", "jpeg"])
    def test_formats_carry_alpha_and_metadata(self, server: str, detail: np.ndarray, format: str) -> None:
        exif = Image.Exif()
        exif[0x010F] = "a maker"
        photo = Image.fromarray(detail[:100, :120]).convert("RGBA")
        photo.putpixel((3, 3), (0, 0, 0, 0))
        data = io.BytesIO()
        photo.save(data, "PNG", exif=exif, icc_profile=None)
        with Client(server) as client:
            answer = client.reconstruct_bytes(encode(data.getvalue(), rate=4), format)
        with Image.open(io.BytesIO(answer.data)) as back:
            assert back.format == format.upper()
            assert back.size == (120, 100)
            assert back.mode == ("RGB" if format == "jpeg" else "RGBA")
            assert back.getexif()[0x010F] == "a maker"
        assert "server-timing" in answer.headers

    def test_local_gives_the_same(self, server: str, detail: np.ndarray, client: Run, tmp_path: Path) -> None:
        """Uses a picture of several tiles, so that the seams are compared too."""
        wide = np.tile(detail, (1, 3, 1))[:, :1100]
        (tmp_path / "x.bbmr").write_bytes(encode(wide, rate=4).to_bytes())
        pictures = []
        for where in (("--server", server), ("--local",)):
            status, _, error = client("reconstruct", tmp_path / "x.bbmr", "-o", tmp_path / "x.png", *where)
            assert status == 0, error
            pictures.append(np.asarray(Image.open(tmp_path / "x.png")).astype(int))
            assert pictures[-1].shape == wide.shape
        assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_the_commands_in_a_row(server: str, client: Run, detail: np.ndarray, tmp_path: Path) -> None:
    photo, packed, back = (tmp_path / name for name in ("photo.png", "photo.bbmr", "back.png"))
    Image.fromarray(detail).save(photo)
    status, out, _ = client("encode", photo, "--json")
    assert status == 0
    assert json.loads(out)["bytes"] == packed.stat().st_size
    status, out, error = client("reconstruct", packed, "-o", back, "--server", server, "--json")
    assert status == 0, error
    assert json.loads(out)["server"] == server
    status, out, _ = client("compare", photo, back, "--json")
    assert json.loads(out)["psnr_y"] > 20


def test_the_demo(client: Run, detail: np.ndarray, tmp_path: Path) -> None:
    """The demo starts and stops its own server. Its figures must show the gain of the network."""
    Image.fromarray(detail).save(tmp_path / "photo.png")
    status, out, error = client("demo", "--photo", tmp_path / "photo.png", "-o", tmp_path / "demo", "--json")
    assert status == 0, error
    for part in json.loads(out)["tables"]:
        psnr = {row["method"]: row["psnr_y"] for row in part["rows"]}
        assert psnr["light block-based"] > psnr["bicubic block-based"] + 0.3
        assert psnr["light block-based"] > psnr["light uniform"]
    with Image.open(tmp_path / "demo" / "comparison.png") as figure:
        assert figure.width > 4 * 400


class TestService:
    def test_models(self, server: str) -> None:
        with Client(server) as client:
            assert client.ready()
            assert "light" in [model.name for model in client.models()]

    def test_the_routes_of_the_interface(self, server: str) -> None:
        with httpx.Client(base_url=server, trust_env=False) as http:
            for path in ("/healthz", "/readyz", "/models", "/openapi.json"):
                assert http.get(path).status_code == 200, path
            assert "# TYPE" in http.get("/metrics").text


class TestBadInput:
    """The server answers with a problem document of the right status, the client with one line."""

    def problem(self, response: httpx.Response, status: int) -> dict[str, object]:
        assert response.status_code == status, response.text
        assert response.headers["Content-Type"].startswith("application/problem+json")
        document = response.json()
        assert document["status"] == status
        assert document["type"].startswith("urn:bbmr:problem:")
        assert "Traceback" not in response.text
        return dict(document)

    def test_damaged_containers(self, server: str, container: Container) -> None:
        data = container.to_bytes()
        middle = len(data) // 2
        bomb = data[:8] + b"\xdf\xff\xff\xff\xff\xdd\xff\xff\xff" + bytes(16)
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        for body in (b"", b"words", data[:-50], data[:40], flipped, bomb):
            self.problem(post(server, body), 400)

    def test_a_future_version(self, server: str, container: Container) -> None:
        data = container.to_bytes()
        at = data.index(b"\xa7version\x01") + 8
        body = data[:at] + b"\x63" + data[at + 1 : -16]
        whole = body + hashlib.blake2b(body, digest_size=16).digest()
        assert "99" in str(self.problem(post(server, whole), 422)["detail"])

    def test_a_wrong_content_type(self, server: str, container: Container) -> None:
        self.problem(post(server, container.to_bytes(), mime="image/png"), 415)

    def test_no_acceptable_type(self, server: str, container: Container) -> None:
        self.problem(post(server, container.to_bytes(), headers={"Accept": "text/plain"}), 406)

    def test_a_body_that_is_too_large(self, server: str, client: Run, tmp_path: Path) -> None:
        self.problem(post(server, bytes(400_000)), 413)
        noise = np.random.default_rng(1).integers(0, 256, (400, 400, 3), dtype=np.uint8)
        (tmp_path / "x.bbmr").write_bytes(encode(noise, rate=1).to_bytes())
        status, _, error = client(
            "reconstruct", tmp_path / "x.bbmr", "-o", tmp_path / "o.png", "--server", server
        )
        assert status == 1
        assert "refused (413)" in error
        assert error.count("\n") == 1
        assert not (tmp_path / "o.png").exists()

    def test_an_unknown_model(self, server: str, container: Container, client: Run, tmp_path: Path) -> None:
        with Client(server) as one, pytest.raises(ServerRefusedError) as caught:
            one.reconstruct(container, model="none")
        assert caught.value.status_code == 422
        assert caught.value.problem["type"] == "urn:bbmr:problem:unknown-model"
        (tmp_path / "x.bbmr").write_bytes(container.to_bytes())
        for where in (("--server", server), ("--local",)):
            options = ("-o", tmp_path / "o.png", "--model", "none", *where)
            status, _, error = client("reconstruct", tmp_path / "x.bbmr", *options)
            assert status == 1
            assert "none" in error
            assert error.count("\n") == 1
            assert not (tmp_path / "o.png").exists()

    @pytest.mark.parametrize("region", ["0,0,9999,9999", "a", "0,0,0,0", "-1,0,5,5"])
    def test_an_invalid_region(self, server: str, container: Container, region: str) -> None:
        self.problem(post(server, container.to_bytes(), params={"region": region}), 422)

    def test_a_decompression_bomb_in_a_plane(self, server: str, container: Container) -> None:
        """A plane whose own header claims 20000×20000 pixels is refused by its header."""
        header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
        plane = replace(
            container.planes[0], codec="png", data=b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + header + bytes(40)
        )
        body = replace(container, planes=(plane, *container.planes[1:])).to_bytes()
        self.problem(post(server, body), 400)
