"""Opening a store: settings and places that are refused, permissions, missing packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bbmr_server.app import create_app
from bbmr_server.settings import Settings
from bbmr_shared.errors import UsageError

pytestmark = pytest.mark.anyio
KEY = "r7Tq2vX9pLm4Zk8W"


def test_a_public_server_without_keys_refuses_a_store(make_bench: Callable[..., Any], store: Path) -> None:
    with pytest.raises(UsageError, match="BBMR_API_KEYS"):
        make_bench(start=False, store=str(store), host="0.0.0.0")
    assert not store.exists()
    make_bench(start=False, store=str(store), host="0.0.0.0", api_keys=KEY)


def test_a_directory_that_cannot_be_used(make_bench: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="BBMR_STORE: cannot write to"):
        make_bench(start=False, store=str(tmp_path / "file" / "store"))
    with pytest.raises(UsageError, match="BBMR_PICTURE_CACHE: cannot write to"):
        make_bench(start=False, store=str(tmp_path / "store"), picture_cache=tmp_path / "file" / "cache")
    with pytest.raises(UsageError, match="set BBMR_STORE as well"):
        make_bench(start=False, picture_cache=tmp_path / "cache")


@pytest.mark.parametrize(
    "place",
    [
        "s3://",
        "s3:bucket",
        "s3://KEY:SECRET@bucket",
        "s3://bucket/../x",
        "gs://bucket",
        "file:///tmp",
        "s3://b/x?y=1",
    ],
)
def test_invalid_store_locations(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bbmr_server.settings import load_settings

    with pytest.raises(UsageError, match="BBMR_STORE") as refusal:
        load_settings(store=place)
    assert "SECRET" not in str(refusal.value)


def test_the_directory_is_its_owners_alone(make_bench: Callable[..., Any], store: Path) -> None:
    make_bench(start=False, store=str(store))
    assert store.stat().st_mode & 0o777 == 0o700


def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_bench: Callable[..., Any]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "obstore.store", None)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=r"pip install '\.\[store\]' in a checkout"):
        create_app(Settings(store=str(tmp_path)), make_bench(start=False).engine)
