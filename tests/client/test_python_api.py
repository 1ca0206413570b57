"""The Python interface: promised names can be imported, and every code block of docs/python.md runs."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bbmr_client
import bbmr_shared
from bbmr_client.region import checked_region
from bbmr_client.server_process import running_server
from tests.client.test_start import loaded_by

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SERVER = "127.0.0.1:8000"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a part of the sample as photo.jpg."""
    folder = tmp_path_factory.mktemp("python")
    with Image.open(ROOT / "samples/lake-sherburne.jpg") as photo:
        photo.crop((440, 180, 860, 480)).save(folder / "photo.jpg", quality=90, dpi=(300, 300))
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server({"BBMR_DEVICE": "cpu"}) as url:
        yield url


def test_every_block_of_the_page_runs(
    place: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert len(BLOCKS) > 8
    names: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(BLOCKS):
        code = compile(
            block.replace(SERVER, server.removeprefix("http://")), f"docs/python.md, block {number}", "exec"
        )
        exec(code, names)
    written = capsys.readouterr().out
    assert names["picture"].size == (420, 300)
    assert (names["corner"].size, names["left"].size) == ((128, 128), (64, 64))
    assert names["answer"].mime == "image/webp"
    assert Image.open(place / "back.png").size == (420, 300)
    assert Image.open(place / "small.png").size == (200, 143)
    assert "(300.0, 300.0)" in written
    assert "truncated" in written
    assert "no-such-weights" in written
    assert "down" in written


def test_the_page_names_every_argument_of_encode_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", PAGE.partition("## Look inside")[0], re.MULTILINE))
    parameters = signature(bbmr_client.encode).parameters.values()
    named = {one.name: one.default for one in parameters if one.kind is Parameter.KEYWORD_ONLY}
    assert set(rows) == set(named)
    for name, default in named.items():
        shown = rows[name]
        assert (bbmr_shared.DEFAULT_LIMITS if shown == "DEFAULT_LIMITS" else eval(shown)) == default, name


def test_the_page_names_every_argument_of_a_client() -> None:
    table = PAGE.partition("Several servers")[2].partition("## Reconstruct on this machine")[0]
    rows = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    for kind in (bbmr_client.Client, bbmr_client.AsyncClient):
        assert rows == set(signature(kind).parameters)
    from bbmr_client import Retries, Timeouts, Tls

    for settings in (Timeouts, Retries, Tls):
        written = re.search(rf"`{settings.__name__}\(([^)]*)\)`", table)
        assert written is not None
        for part in written[1].split(", "):
            name, _, value = part.partition("=")
            default = signature(settings).parameters[name].default
            assert not value or float(value) == default, part


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "bbmr_client",
            [
                "encode",
                "Client",
                "AsyncClient",
                "Photo",
                "load_photo",
                "Timeouts",
                "Retries",
                "Tls",
                "Container",
            ],
        ),
        (
            "bbmr_shared",
            ["Container", "Limits", "DEFAULT_LIMITS", "Plane", "AlphaPlane", "BlockGrid", "RATES"],
        ),
        ("bbmr_models", ["load", "available", "JointSR"]),
        ("bbmr_client.pillow", ["BbmrImageFile", "save_options"]),
    ],
)
def test_what_is_promised_can_be_imported(module: str, names: list[str]) -> None:
    found = importlib.import_module(module)
    for name in names:
        assert getattr(found, name) is not None
    assert set(getattr(found, "__all__", names)) <= set(dir(found))


def test_every_error_is_in_the_front_door() -> None:
    """Without those of a batch run, which only the command line raises."""
    importlib.import_module("bbmr_client.files")
    expected = all_errors(bbmr_client.BbmrError)
    expected = {one for one in expected if one.__module__ in {"bbmr_client.files", "bbmr_shared.errors"}}
    assert len(expected) > 20
    for error in expected:
        assert getattr(bbmr_client, error.__name__) is error
        assert error.__name__ in bbmr_client.__all__


def all_errors(error: type[Exception]) -> set[type[Exception]]:
    return {error}.union(*(all_errors(one) for one in error.__subclasses__()))


def test_the_page_names_every_error() -> None:
    table = PAGE.partition("## Errors")[2]
    for error in all_errors(bbmr_client.BbmrError):
        if error.__module__ == "bbmr_shared.errors":
            assert f"`{error.__name__}`" in table


HEAVY = {"numpy", "PIL", "httpx", "anyio", "pydantic", "msgpack", "typer", "ssl", "asyncio", "torch"}
DECODING = {"numpy", "PIL", "msgpack", "pydantic"}


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("", set()),
        ("__version__", set()),
        ("UsageError", set()),
        ("ServerRefusedError", set()),
        ("FileAccessError", set()),
        ("Limits", set()),
        ("Retries", set()),
        ("Timeouts", set()),
        ("Tls", set()),
        ("ModelInfo", set()),
        ("Container", DECODING),
        ("Photo", DECODING),
        ("encode", DECODING),
        ("Client", HEAVY - {"typer", "torch"}),
    ],
)
def test_a_name_loads_only_what_it_needs(name: str, needed: set[str]) -> None:
    loaded = loaded_by("import bbmr_client" + (f"; bbmr_client.{name}" if name else ""))
    assert "bbmr_client" in loaded
    assert HEAVY & loaded <= needed


def test_the_version_is_that_of_the_package() -> None:
    assert bbmr_client.__version__ == version("bbmr")


@pytest.mark.parametrize(
    "region", [(0, 0, 400, 10), (-1, 0, 5, 5), (0, 0, 0, 5), (1, 2, 3), "0,0,5,5", (0, 0, 2.5, 1), None, 5]
)
def test_a_region_that_is_none_is_a_usage_error(region: Any) -> None:
    with pytest.raises(bbmr_client.UsageError, match="region"):
        checked_region(region, (300, 200))


def test_a_region_of_numpys_integers() -> None:
    region = checked_region(np.array([250, 150, 50, 50]), (300, 200))  # type: ignore[arg-type]
    assert [(value, type(value)) for value in region] == [(250, int), (150, int), (50, int), (50, int)]


def test_names_that_are_none() -> None:
    with pytest.raises(AttributeError, match="encoed"):
        bbmr_client.encoed  # noqa: B018


def test_type_checkers_see_the_interface(tmp_path: Path, cache: pytest.Cache) -> None:
    """A caller's code, checked strictly against the packages as they are installed."""
    (tmp_path / "caller.py").write_text(
        "import bbmr_client, bbmr_client.pillow\n"
        "from bbmr_shared import Container\n"
        "from PIL import Image\n"
        "made: Container = bbmr_client.encode('photo.jpg', rate=4)\n"
        "with bbmr_client.Client('http://x') as client:\n"
        "    picture: Image.Image = client.reconstruct(made, region=(0, 0, 1, 1))\n"
        "print(bbmr_client.__version__.upper(), bbmr_client.UsageError('x').problem_type)\n"
        "bbmr_client.encode('photo.jpg', rate='four')\n"
    )
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        f"--cache-dir={cache.mkdir('mypy-of-a-caller')}",  # 11 s of processor time without
        "caller.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1, done.stdout
    assert "caller.py:8" in errors[0]
    assert 'incompatible type "str"' in errors[0]
