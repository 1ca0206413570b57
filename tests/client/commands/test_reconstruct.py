"""`bbmr-client reconstruct`, alias `decode`: over HTTP and on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client import local
from bbmr_client.commands.connection import connect
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container

Run = Callable[..., Any]
Fails = Callable[..., str]


@pytest.mark.parametrize("command", ["reconstruct", "decode"])
def test_over_http(run: Run, command: str, packed: Path, container: Container, composite_server: str) -> None:
    out = packed.with_name("out.png")
    outcome = run(command, packed, "-o", out, "--server", composite_server)
    assert outcome.code == 0, outcome
    assert outcome.out == ""
    assert "300×200 png" in outcome.err
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(preview(container)))


def test_an_address_without_a_scheme(run: Run, packed: Path, composite_server: str) -> None:
    address = composite_server.removeprefix("http://")
    assert run("reconstruct", packed, "-o", packed.with_name("out.png"), "--server", address).code == 0


@pytest.mark.parametrize(
    ("address", "key"), [("one:8000", "secret"), ("http://one:8000/", "secret"), ("two:8000", None)]
)
def test_the_key_of_the_settings_file_goes_to_its_servers_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, key: str | None
) -> None:
    (tmp_path / "config.toml").write_text('server = "http://one:8000"\napi_key = "secret"\n')
    monkeypatch.setenv("BBMR_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.delenv("BBMR_API_KEY", raising=False)
    connection = connect([address])
    assert connection is not None
    assert connection.api_key == key


def test_verbose_names_the_server(run: Run, packed: Path, composite_server: str) -> None:
    outcome = run(
        "reconstruct", packed, "-o", packed.with_name("out.png"), "--server", composite_server, "-v"
    )
    assert f"server {composite_server}" in outcome.err.splitlines()


def test_the_server_of_the_environment(
    run: Run, packed: Path, composite_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BBMR_SERVER", composite_server)
    assert run("reconstruct", packed, "-o", packed.with_name("out.png")).code == 0


@pytest.mark.parametrize(
    ("name", "options", "format"),
    [
        ("out.png", (), "PNG"),
        ("out.webp", (), "WEBP"),
        ("out.AVIF", (), "AVIF"),
        ("out.jpg", (), "JPEG"),
        ("out.jpeg", (), "JPEG"),
        ("out.png", ("--format", "webp"), "WEBP"),
        ("out", ("--format", "jpeg"), "JPEG"),
    ],
)
def test_formats(
    run: Run, packed: Path, composite_server: str, name: str, options: tuple[str, ...], format: str
) -> None:
    out = packed.with_name(name)
    assert run("reconstruct", packed, "-o", out, "--server", composite_server, *options).code == 0
    with Image.open(out) as picture:
        assert picture.format == format


def test_a_region(run: Run, packed: Path, composite_server: str, container: Container) -> None:
    out = packed.with_name("out.png")
    options = ("-o", out, "--server", composite_server, "--region", "250,100,50,100", "--json")
    outcome = run("reconstruct", packed, *options)
    told = json.loads(outcome.out)
    assert (told["width"], told["height"], told["bytes"]) == (50, 100, out.stat().st_size)
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(preview(container))[100:, 250:])


def test_on_this_machine(
    run: Run, packed: Path, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the entry point names gets the container and the options; BBMR_SERVER does not matter then."""
    asked = {}

    def network(given: Container, **options: object) -> Image.Image:
        asked.update(options, same=given == container)
        return preview(given)

    class Found:
        def load(self) -> object:
            return network

    def entry_points(**where: str) -> list[Found]:
        return [Found()] if where == {"group": "bbmr.reconstruct", "name": "local"} else []

    monkeypatch.setattr(local, "entry_points", entry_points)
    monkeypatch.setenv("BBMR_SERVER", "http://127.0.0.1:9")
    out = packed.with_name("out.png")
    options = ("-o", out, "--local", "--model", "light", "--threads", 3)
    assert run("reconstruct", packed, *options).code == 0
    assert asked == {"same": True, "model": "light", "region": None, "threads": 3}
    assert Image.open(out).size == (300, 200)


def test_without_the_network(fails: Fails, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "entry_points", lambda **where: [])
    line = fails("reconstruct", packed, "-o", packed.with_name("out.png"), "--local", code=2)
    assert "pip install '.[local]' in a checkout" in line


@pytest.mark.parametrize(
    ("model", "package", "extra"), [("light", "ncnn", "local"), ("omnisr", "torch", "server")]
)
def test_without_a_runtime(
    fails: Fails, packed: Path, monkeypatch: pytest.MonkeyPatch, model: str, package: str, extra: str
) -> None:
    monkeypatch.setattr("bbmr_models.reconstruct.find_spec", lambda name: None)
    options = ("-o", packed.with_name("out.png"), "--local", "--model", model)
    line = fails("reconstruct", packed, *options, code=2)
    assert f"install {package}: pip install '.[{extra}]' in a checkout; or use --server URL" in line


class TestWrongUsage:
    def test_no_server(self, fails: Fails, packed: Path) -> None:
        line = fails("reconstruct", packed, "-o", packed.with_name("out.png"), code=2)
        assert "--server URL or BBMR_SERVER" in line

    def test_both_ways(self, fails: Fails, packed: Path) -> None:
        options = ("--local", "--server", "http://127.0.0.1:9")
        assert "exclude" in fails("reconstruct", packed, "-o", packed.with_name("o.png"), *options, code=2)

    @pytest.mark.parametrize(
        "region",
        [
            "1,2,3",
            "a,b,c,d",
            "0,0,0,5",
            "-1,0,5,5",
            "0,0,301,10",
            "299,199,2,1",
            "1.5,0,2,2",
            "",
            "0,0,1_0,1",
            "0,0, 5,5",
            "٠,0,1,1",
        ],
    )
    def test_a_region_that_is_none(self, fails: Fails, packed: Path, region: str) -> None:
        options = ("-o", packed.with_name("o.png"), "--server", "http://127.0.0.1:9", f"--region={region}")
        assert "--region" in fails("reconstruct", packed, *options, code=2)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ((), "--output"),
            (("-o", "out.bmp", "--local"), "no picture format"),
            (("-o", "out", "--local"), "no picture format"),
            (("-o", "out.png", "--format", "gif"), "--format"),
            (("-o", "out.png", "--local", "--threads", 0), "--threads"),
            (("-o", "out.png", "--server", "http://h", "--threads", 2), "--threads is for --local"),
            (("-o", "out.png", "--server", "localhost"), "http://host:port"),
            (("-o", "out.png", "--server", "http://h", "--timeout", -1), "timeout"),
            (("-o", "out.png", "--server", "http://h", "--api-key", "a b"), "API key"),
        ],
    )
    def test_options(self, fails: Fails, packed: Path, options: tuple[object, ...], words: str) -> None:
        assert words in fails("reconstruct", packed, *options, code=2)

    def test_several_containers_into_a_file(self, fails: Fails, packed: Path, photo: Path) -> None:
        options = ("-o", photo, "--local")
        assert f"{photo} is no folder" in fails("reconstruct", packed, packed, *options)
