"""The HTTP client: the requests that it sends, and what its methods return."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from bbmr_client import Client, ModelInfo
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.errors import (
    BadAnswerError,
    UsageError,
)
from tests.client.http.call import Serve, call
from tests.client.http.scripted import png


class TestSent:
    def test_the_picture_comes_back(self, kind: str, composite_server: str, container: Container) -> None:
        picture = call(kind, composite_server, "reconstruct", container)
        assert np.array_equal(np.asarray(picture), np.asarray(preview(container)))

    def test_bytes_are_sent_as_they_are(self, kind: str, composite_server: str, container: Container) -> None:
        picture = call(kind, composite_server, "reconstruct", container.to_bytes())
        assert picture.size == (container.width, container.height)

    @pytest.mark.parametrize("packed", [bytearray, memoryview])
    def test_whatever_holds_bytes(
        self, kind: str, composite_server: str, container: Container, packed: Callable[[bytes], Any]
    ) -> None:
        picture = call(kind, composite_server, "reconstruct", packed(container.to_bytes()))
        assert picture.size == (container.width, container.height)

    def test_a_region(self, kind: str, composite_server: str, container: Container) -> None:
        picture = call(kind, composite_server, "reconstruct", container, region=(30, 40, 50, 60))
        whole = np.asarray(preview(container))
        assert np.array_equal(np.asarray(picture), whole[40:100, 30:80])

    @pytest.mark.parametrize("format", ["png", "webp", "avif", "jpeg"])
    def test_every_format(self, kind: str, format: str, composite_server: str, container: Container) -> None:
        answer = call(kind, composite_server, "reconstruct_bytes", container, format)
        assert answer.mime == f"image/{format}"
        with Image.open(io.BytesIO(answer.data)) as picture:
            assert picture.format == format.upper()

    def test_the_request_is_what_the_interface_says(self, container: Container) -> None:
        seen: list[httpx.Request] = []

        def respond(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return httpx.Response(200, content=png(5, 6), headers={"Content-Type": "image/png"})

        with Client(
            "https://host:1/base/", api_key="secret", transport=httpx.MockTransport(respond)
        ) as client:
            client.reconstruct(container, region=(1, 2, 5, 6), model="light")
        (request,) = seen
        assert request.method == "POST"
        assert request.url.copy_with(query=None) == "https://host:1/base/reconstruct"
        assert dict(request.url.params) == {"region": "1,2,5,6", "model": "light"}
        assert request.headers["Content-Type"] == "application/vnd.bbmr"
        assert request.headers["Accept"] == "image/png"
        assert request.headers["Authorization"] == "Bearer secret"
        assert request.read() == container.to_bytes()

    def test_a_transport_that_cannot_be_awaited(self) -> None:
        with pytest.raises(UsageError, match="AsyncBaseTransport"):
            Client("http://host", transport=httpx.HTTPTransport())  # type: ignore[arg-type]

    def test_models_and_readiness(self, kind: str, serve: Serve, reply: Callable[..., None]) -> None:
        light = {"name": "light", "architecture": "JointSR/light", "parameters": 1, "bytes": 2, "sha256": "a"}
        document = {"default": "light", "models": [light, {"name": "omnisr", "card": {"of": "tomorrow"}}]}

        def handler(request: BaseHTTPRequestHandler, body: bytes) -> None:
            if request.path == "/models":
                reply(request, 200, "application/json", json.dumps(document).encode())
            else:
                reply(request, 503, "application/problem+json", b'{"title": "not ready"}')

        url = serve(handler)
        first, second = call(kind, url, "models")
        assert first == ModelInfo("light", True, "JointSR/light", 1, 2, "a", light)
        assert second == ModelInfo("omnisr", details={"name": "omnisr", "card": {"of": "tomorrow"}})
        assert call(kind, url, "ready") is False

    @pytest.mark.parametrize(
        "document",
        [
            [],
            {},
            {"models": {}},
            {"models": [1]},
            {"models": [{}]},
            {"models": [{"name": "a", "bytes": "b"}]},
        ],
    )
    def test_models_of_another_structure(
        self, serve: Serve, reply: Callable[..., None], document: object
    ) -> None:
        url = serve(
            lambda request, body: reply(request, 200, "application/json", json.dumps(document).encode())
        )
        with pytest.raises(BadAnswerError, match=url):
            call("sync", url, "models")

    @pytest.mark.parametrize(
        "region", [(1, 2, 3), (0, 0, 1.5, 2), (0, 0, 0, 5), (-1, 0, 5, 5), "0,0,5,5", 5, (0, 0, None, 1)]
    )
    def test_a_region_that_is_none(self, kind: str, container: Container, region: Any) -> None:
        with pytest.raises(UsageError, match="region"):
            call(kind, "http://127.0.0.1:9", "reconstruct", container, region=region)

    def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
        self, kind: str, composite_server: str, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        assert call(kind, composite_server, "reconstruct", container).size == (300, 200)

    @pytest.mark.parametrize(
        ("variable", "value"),
        [("ALL_PROXY", "socks5://host"), ("HTTP_PROXY", "foo://bar"), ("SSL_CERT_FILE", "/nonexistent")],
    )
    def test_a_server_on_this_machine_needs_nothing_of_the_environment(
        self,
        kind: str,
        composite_server: str,
        container: Container,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
        value: str,
    ) -> None:
        monkeypatch.setenv(variable, value)
        assert call(kind, composite_server, "reconstruct", container).size == (300, 200)
        with pytest.raises(UsageError, match=variable):
            call(kind, "https://bbmr.invalid", "models")
