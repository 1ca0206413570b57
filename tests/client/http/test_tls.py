"""Certificates and keys: which are trusted, to which server a key is sent, and that no message shows it."""

from __future__ import annotations

import logging
import ssl
import warnings
from pathlib import Path

import pytest
import trustme

from bbmr_client import AsyncClient, Client, Tls
from bbmr_client.http.request import parse_servers
from bbmr_shared.container import Container
from bbmr_shared.errors import BbmrError, ServerUnreachableError, UsageError
from tests.client.http.scripted import answer, picture, refusal, scripted

KEY = "s3cr3t-key"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


class TestCertificates:
    def test_of_an_authority_of_ones_own(
        self, container: Container, server_tls: ssl.SSLContext, ca_file: Path
    ) -> None:
        with scripted(picture(), tls=server_tls) as (url, _), Client(url, 20, tls=Tls(ca_file)) as client:
            assert client.reconstruct(container).size == (300, 200)

    def test_of_nobody_known(self, container: Container, server_tls: ssl.SSLContext) -> None:
        """There is no retry, also with another server, because somebody may be intercepting the connection."""
        with scripted(picture()) as (other, seen), scripted(picture(), tls=server_tls) as (url, refused):
            with pytest.raises(ServerUnreachableError, match=r"is not trusted.*--ca-file"):
                Client([url, other], 20).reconstruct(container)
            assert (seen.count, refused.count) == (0, 0)

    def test_of_somebody_else(self, container: Container, authority: trustme.CA, ca_file: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("another.example").configure_cert(context)
        with (
            scripted(picture(), tls=context) as (url, _),
            pytest.raises(ServerUnreachableError, match="is not trusted"),
        ):
            Client(url, 20, tls=Tls(ca_file)).reconstruct(container)

    def test_of_anybody_where_that_is_wished(self, container: Container, server_tls: ssl.SSLContext) -> None:
        with (
            scripted(picture(), tls=server_tls) as (url, _),
            Client(url, 20, tls=Tls(insecure=True)) as client,
        ):
            assert client.reconstruct(container).size == (300, 200)

    @pytest.mark.parametrize("in_one_file", [True, False])
    def test_of_the_client(
        self,
        container: Container,
        authority: trustme.CA,
        server_tls: ssl.SSLContext,
        ca_file: Path,
        tmp_path: Path,
        in_one_file: bool,
    ) -> None:
        authority.configure_trust(server_tls)
        server_tls.verify_mode = ssl.CERT_REQUIRED
        mine = authority.issue_cert("me@example.org")
        both, cert, key = (tmp_path / name for name in ("both.pem", "cert.pem", "key.pem"))
        mine.private_key_and_cert_chain_pem.write_to_path(both)
        mine.cert_chain_pems[0].write_to_path(cert)
        mine.private_key_pem.write_to_path(key)
        tls = Tls(ca_file, both) if in_one_file else Tls(ca_file, cert, key)
        with scripted(picture(), tls=server_tls) as (url, seen):
            with Client(url, 20, tls=tls) as client:
                assert client.reconstruct(container).size == (300, 200)
            # TLS 1.3 refuses only after the handshake, and a client that is sending by then may see no more than a
            # connection that broke.
            with pytest.raises(ServerUnreachableError, match=r"--client-cert|the connection to \S+ broke"):
                Client(url, 20, tls=Tls(ca_file)).reconstruct(container)
        assert seen.count == 1

    def test_of_nobody_where_nobody_speaks_of_them(self, container: Container) -> None:
        with scripted(picture()) as (url, _), pytest.raises(ServerUnreachableError, match=r"https\?$"):
            Client(url.replace("http:", "https:"), 20).reconstruct(container)

    def test_files_that_are_none(self, ca_file: Path, tmp_path: Path) -> None:
        words = tmp_path / "words.pem"
        words.write_text("words")
        for tls in (Tls(tmp_path / "none"), Tls(words), Tls(client_cert=words), Tls(client_cert=ca_file)):
            with pytest.raises(UsageError, match="cannot be used") as caught:
                Client("https://127.0.0.1:9", tls=tls)
            assert "\n" not in str(caught.value)
            assert "unknown" not in str(caught.value)

    def test_a_key_with_a_password_does_not_ask_the_terminal(
        self, authority: trustme.CA, tmp_path: Path
    ) -> None:
        from cryptography.hazmat.primitives import serialization

        mine = authority.issue_cert("me@example.org")
        key = serialization.load_pem_private_key(mine.private_key_pem.bytes(), None)
        locked = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
        (tmp_path / "both.pem").write_bytes(mine.cert_chain_pems[0].bytes() + locked)
        with pytest.raises(UsageError, match="has a password"):
            Client("https://127.0.0.1:9", tls=Tls(client_cert=tmp_path / "both.pem"))

    def test_what_excludes_each_other(self) -> None:
        with pytest.raises(UsageError, match="certificate"):
            Tls(client_key="key.pem")
        with pytest.raises(UsageError, match="excludes"):
            Tls("ca.pem", insecure=True)


class TestKeys:
    def test_none_travels_over_a_redirect(self, container: Container) -> None:
        with (
            scripted(picture()) as (other, seen),
            scripted(answer(307, "text/html", b"", Location=f"{other}/reconstruct")) as (url, _),
            pytest.raises(BbmrError, match="307"),
        ):
            Client(url, api_key=KEY).reconstruct(container)
        assert seen.count == 0

    def test_none_is_shown(self, container: Container, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        shown = []
        with scripted(refusal(401, "No key")) as (url, seen):
            address = url.replace("//", f"//me:{KEY}@")
            for client in (Client(url, api_key=KEY), Client(address)):
                with pytest.raises(BbmrError) as caught:
                    client.reconstruct(container)
                shown += [str(caught.value), repr(caught.value), repr(client), repr(vars(client._client))]
        shown += [repr(parse_servers(address, KEY)), repr(AsyncClient(address, api_key=KEY)), caplog.text]
        assert seen.headers[0]["Authorization"] == f"Bearer {KEY}"
        assert seen.headers[1]["Authorization"].startswith("Basic ")
        for text in shown:
            assert KEY not in text
            assert seen.headers[1]["Authorization"] not in text

    def test_one_in_an_address_that_is_none_is_not_shown(self) -> None:
        for address in (f"htp://me:{KEY}@host", f"http://me:{KEY}@", f"http://me:{KEY}@a..b"):
            with pytest.raises(UsageError) as caught:
                Client(address)
            assert KEY not in str(caught.value)

    def test_beside_a_password_it_has_a_header_of_its_own(self, container: Container) -> None:
        with (
            scripted(picture()) as (url, seen),
            Client(url.replace("//", "//me:p%40ss@"), api_key=KEY) as client,
        ):
            client.reconstruct(container)
        assert seen.headers[0]["Authorization"] == "Basic bWU6cEBzcw=="
        assert seen.headers[0]["X-API-Key"] == KEY

    @pytest.mark.parametrize(
        ("address", "key", "careless"),
        [
            ("http://server.example", KEY, True),
            (["https://server.example", "http://server.example"], KEY, True),
            ("http://me:password@server.example", None, True),
            ("http://server.example", None, False),
            ("https://server.example", KEY, False),
            ("http://127.0.0.1:8000", KEY, False),
            ("http://[::1]:8000", KEY, False),
            ("http://localhost", KEY, False),
        ],
    )
    def test_one_that_anybody_can_read_is_warned_of_once(
        self, address: str | list[str], key: str | None, careless: bool
    ) -> None:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            Client(address, api_key=key)
        assert [str(one.message) for one in told] == (
            ["the key for http://server.example travels unencrypted: use https"] if careless else []
        )
