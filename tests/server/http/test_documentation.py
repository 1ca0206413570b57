"""docs/http-api.md lists every route, problem and parameter of the code."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bbmr_server.errors
from bbmr_server.http.problems import TITLES
from bbmr_shared.errors import BbmrError, ServiceError


@pytest.fixture(scope="module")
def text() -> str:
    return (Path(__file__).parents[3] / "docs" / "http-api.md").read_text()


def errors_of(kind: type[BbmrError]) -> set[type[BbmrError]]:
    return {kind}.union(*(errors_of(sub) for sub in kind.__subclasses__()))


def server_errors() -> set[type[BbmrError]]:
    """Every declared error but those of the HTTP client."""
    ours = ("bbmr_shared.", "bbmr_models.", "bbmr_server.")
    found = {
        e for e in errors_of(BbmrError) if not issubclass(e, ServiceError) and e.__module__.startswith(ours)
    }
    assert bbmr_server.errors.DeadlineError in found
    return found


def test_every_problem_is_in_the_table_with_its_status(text: str) -> None:
    rows = re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \|", text, re.M)
    table = {slug: int(status) for status, slug in rows}
    for error in server_errors():
        assert error.slug in TITLES, error
        assert table[error.slug] == error.status, error
    assert set(table) == set(TITLES)


def test_every_route_and_parameter_is_named(text: str, make_bench: Callable[..., Any]) -> None:
    document = make_bench(start=False).app.openapi()
    routes = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert len(routes) >= 8
    for route in routes | {"GET /openapi.json"}:
        assert f"`{route}`" in text, route
    for path in ("/reconstruct", "/encode"):
        for parameter in document["paths"][path]["post"]["parameters"]:
            assert f"`?{parameter['name']}=" in text


@pytest.mark.anyio
async def test_the_openapi_document_says_which_routes_need_which_key(
    make_bench: Callable[..., Any], connect: Callable[..., Any], tmp_path: Path
) -> None:
    keys = {"bearer": "a-visitors-key-77d1", "adminBearer": "an-operators-key-0f3b"}
    bench = make_bench(
        api_keys=keys["bearer"], admin_keys=keys["adminBearer"], store=str(tmp_path), store_reads="keys"
    )
    document = bench.app.openapi()
    schemes = document["components"]["securitySchemes"]
    seen = set()
    async with connect(bench) as client:
        for path, item in document["paths"].items():
            for method, operation in item.items():
                address = path.format(digest="0" * 64, name="light")
                wanted = [name for one in operation.get("security", []) for name in one]
                seen.update(wanted)
                assert schemes.keys() >= set(wanted)
                answer = await client.request(method, address)
                assert (answer.status_code == 401) == bool(wanted), (method, path)
                assert ({} in operation.get("security", [])) == bool(wanted and "/admin/" not in path)
                for name in wanted:
                    scheme, key = schemes[name], keys[name.replace("Key", "Bearer").replace("key", "bearer")]
                    assert scheme.get("scheme", "bearer") == "bearer"
                    given = {scheme["name"]: key} if "name" in scheme else {"Authorization": f"Bearer {key}"}
                    answer = await client.request(method, address, headers=given)
                    assert answer.status_code not in (401, 403), (method, path, name)
    assert seen == set(schemes)
