"""The files of the page: headers, policy, revalidation, size."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from bbmr_server.http.conditional import not_modified
from bbmr_server.page.files import read_files

pytestmark = pytest.mark.anyio
JPEG = {"Content-Type": "image/jpeg"}
BYTES = {"Content-Type": "application/octet-stream"}
FILES = sorted(name for name in read_files() if name != "index.html")


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.inline: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._script = tag in ("script", "style")
        for name, value in attrs:
            if name in ("src", "href", "data-sample") and value:
                self.targets.append(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(name)

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._script = False


async def test_the_page_loads_everything_from_this_server(
    make_bench: Callable[..., Any], connect: Any
) -> None:
    async with connect(make_bench(start=False)) as client:
        page = await client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        links = Links()
        links.feed(page.text)
        assert links.inline == []  # the policy would block it
        assert len(links.targets) > 5
        for target in links.targets:
            assert not re.match(r"[a-z]+:|/", target), target  # relative, so that a proxy may add a prefix
            assert (await client.get(f"/{target}")).status_code == 200
        for name in FILES:
            if name.endswith((".js", ".css")):
                text = (await client.get(f"/page/{name}")).text
                assert not re.search(r"https?://|//cdn|innerHTML|eval\(|@import", text), name
                for module in re.findall(r'from "\./([^"]+)"', text):
                    assert module in FILES


async def test_the_content_security_policy_allows_no_other_sources(
    make_bench: Callable[..., Any], connect: Any
) -> None:
    async with connect(make_bench(start=False)) as client:
        for path in ("/", *(f"/page/{name}" for name in FILES)):
            headers = (await client.get(path)).headers
            policy = dict(
                part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
            )
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
            assert policy["img-src"] == "'self' blob:"
            assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in FILES)])
async def test_files_are_revalidated_by_etag(make_bench: Callable[..., Any], connect: Any, path: str) -> None:
    async with connect(make_bench(start=False)) as client:
        first = await client.get(path)
        assert first.headers["cache-control"] == "no-cache"
        etag = first.headers["etag"]
        again = await client.get(path, headers={"If-None-Match": f'"other", W/{etag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
        assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
        head = await client.head(path)
        assert (head.status_code, head.headers["etag"]) == (200, etag)


def test_lists_and_stars_of_etags_are_understood() -> None:
    assert not_modified('"a", W/"b"', '"b"')
    assert not_modified("*", '"b"')
    assert not not_modified(None, '"b"')
    assert not not_modified('"bb"', '"b"')


def test_the_page_is_small() -> None:
    files = read_files()
    assert sum(len(file.data) for name, file in files.items() if not name.endswith(".jpg")) < 75_000
    assert all(len(file.data) <= 400_000 for file in files.values())


async def test_without_the_page_a_plain_page_is_served(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes
) -> None:
    async with connect(make_bench(page=False)) as client:
        plain = await client.get("/")
        assert "script" not in plain.text
        assert "bbmr-client encode" in plain.text
        assert (await client.head("/")).status_code == 200
        for path in ("/page/main.js", "/page/limits"):
            assert (await client.get(path)).status_code == 404
        assert (await client.post("/page/facts", content=b"x", headers=BYTES)).status_code == 404
        assert (await client.post("/encode", content=jpeg, headers=JPEG)).status_code == 200
