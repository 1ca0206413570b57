"""Responses that the client refuses, and the error for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import pytest

from bbmr_shared.container import Container
from bbmr_shared.errors import (
    BadAnswerError,
    ServerRefusedError,
)
from tests.client.http.call import Serve, call
from tests.client.http.scripted import png


class TestAnswers:
    """Each case: (status, media type, body, further headers), the error, and words of its message."""

    CASES = {  # noqa: RUF012
        "HTML": ((200, "text/html", b"<html>welcome"), "answered text/html instead of image/png"),
        "HTML of a proxy": ((502, "text/html", b"<html>bad"), "answered 502 Bad Gateway with text/html"),
        "no content type": ((200, "", b"x"), "answered no content type"),
        "another picture format": ((200, "image/jpeg", b"x"), "instead of image/png"),
        "nothing": ((200, "image/png", b""), "0 bytes"),
        "no PNG": ((200, "image/png", b"words"), "not a readable picture"),
        "another size": ((200, "image/png", png(10, 10)), "10×10, not 300×200"),
        "a cut picture": ((200, "image/png", png(300, 200)[:-60]), "cut short"),
        "a redirect": ((302, "text/html", b""), "302 Found"),
        "JSON that is no problem": ((500, "application/json", b"{}"), "500 Internal Server Error"),
        "a broken problem": ((500, "application/problem+json", b"{"), "broken problem document"),
        "an endless problem": ((500, "application/problem+json", b"[" * 70_000), "answer"),
        "a nested problem": ((500, "application/problem+json", b"[" * 60_000), "broken problem document"),
        "an unknown status": ((299, "image/png", png(300, 200)), "299"),
    }

    @pytest.mark.parametrize("case", CASES)
    def test_bad(
        self, kind: str, case: str, serve: Serve, reply: Callable[..., None], container: Container
    ) -> None:
        parts, words = self.CASES[case]
        url = serve(lambda request, body: reply(request, *parts))
        with pytest.raises(BadAnswerError) as caught:
            call(kind, url, "reconstruct", container)
        assert words in str(caught.value)
        assert url in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_redirect_is_told_and_not_followed(
        self, kind: str, serve: Serve, reply: Callable[..., None], container: Container
    ) -> None:
        location = "https://me:hidden@other.example:1/base?key=hidden"
        url = serve(lambda request, body: reply(request, 301, "text/html", b"", Location=location))
        with pytest.raises(BadAnswerError) as caught:
            call(kind, url, "reconstruct", container)
        assert "301 Moved Permanently and redirects to https://other.example:1/base:" in str(caught.value)
        assert "hidden" not in str(caught.value)

    def test_an_encoding_nobody_asked_for(
        self, kind: str, serve: Serve, reply: Callable[..., None], container: Container
    ) -> None:
        url = serve(
            lambda request, body: reply(request, 200, "image/png", b"x" * 20, Content_Encoding="gzip")
        )
        with pytest.raises(BadAnswerError, match="encoding"):
            call(kind, url, "reconstruct", container)

    def test_too_large_by_its_header(
        self, kind: str, serve: Serve, reply: Callable[..., None], container: Container
    ) -> None:
        url = serve(
            lambda request, body: reply(request, 200, "image/png", b"x", Content_Length="99999999999")
        )
        with pytest.raises(BadAnswerError, match="announced 99999999999 bytes"):
            call(kind, url, "reconstruct", container)

    def test_too_large_without_saying_so(self, kind: str, serve: Serve, container: Container) -> None:
        sent = []

        def handler(request: BaseHTTPRequestHandler, body: bytes) -> None:
            request.send_response(200)
            request.send_header("Content-Type", "image/png")
            request.end_headers()
            while True:  # until the client hangs up
                sent.append(request.wfile.write(bytes(1 << 20)))

        with pytest.raises(BadAnswerError, match="more than the"):
            call(kind, serve(handler), "reconstruct", container)
        assert sum(sent) < 64 << 20

    def test_a_problem_is_told_in_its_own_words(
        self, kind: str, serve: Serve, reply: Callable[..., None], container: Container
    ) -> None:
        problem = {
            "type": "urn:bbmr:problem:unknown-model",
            "title": "No such weights",
            "detail": "try \x1b[31mlight\n",
        }
        url = serve(
            lambda request, body: reply(
                request, 422, "application/problem+json", json.dumps(problem).encode(), Retry_After="7"
            )
        )
        with pytest.raises(ServerRefusedError) as caught:
            call(kind, url, "reconstruct", container, model="none")
        assert str(caught.value) == (f"{url} refused (422): No such weights: try [31mlight; try again in 7 s")
        assert caught.value.problem == problem
        assert caught.value.status_code == 422

    def test_a_long_problem_is_cut(
        self, serve: Serve, reply: Callable[..., None], container: Container
    ) -> None:
        body = json.dumps({"title": "t" * 5000}).encode()
        url = serve(lambda request, _: reply(request, 400, "application/problem+json", body))
        with pytest.raises(ServerRefusedError) as caught:
            call("sync", url, "reconstruct", container)
        assert len(str(caught.value)) < 700
