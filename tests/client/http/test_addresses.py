"""Addresses, keys and timeouts of a client: what is refused, and what no message shows."""

from __future__ import annotations

import pytest

from bbmr_client import Client, Timeouts
from bbmr_shared.container import Container
from bbmr_shared.errors import (
    ServerUnreachableError,
    UsageError,
)


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "",
            "localhost",
            "http:8000",
            "host:port",
            "ftp://host",
            "http://",
            "http://h/?a=b",
            "http://[",
            "//h",
        ],
    )
    def test_an_address_that_is_none(self, address: str) -> None:
        with pytest.raises(UsageError, match="http://host:port"):
            Client(address)

    @pytest.mark.parametrize(
        ("address", "url"),
        [
            ("127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("localhost:8000/base/", "http://localhost:8000/base"),
            ("[::1]:8000", "http://[::1]:8000"),
        ],
    )
    def test_host_and_port_alone_mean_http(self, address: str, url: str) -> None:
        assert repr(Client(address)) == f"Client({url})"

    @pytest.mark.parametrize("address", ["user:secret@host:8000", "ftp://user:secret@host", "//u:secret@h"])
    def test_nor_where_it_is_no_address(self, address: str) -> None:
        with pytest.raises(UsageError, match="is not the address of a server") as caught:
            Client(address)
        assert "secret" not in str(caught.value)

    def test_a_password_in_the_address_is_not_shown(self, container: Container) -> None:
        with (
            Client("http://me:hidden@127.0.0.1:9", 5, retries=0) as client,
            pytest.raises(ServerUnreachableError) as caught,
        ):
            client.reconstruct(container)
        assert "hidden" not in str(caught.value)

    @pytest.mark.parametrize("key", ["a b", "ä", "a\nb"])
    def test_a_key_that_no_header_can_carry(self, key: str) -> None:
        with pytest.raises(UsageError):
            Client("http://host", api_key=key)

    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e300])
    def test_a_timeout_that_is_none(self, timeout: float) -> None:
        with pytest.raises(UsageError, match="positive"):
            Client("http://host", timeout)

    def test_every_step_needs_a_real_timeout(self) -> None:
        with pytest.raises(UsageError, match="positive"):
            Timeouts(total=float("inf"))
