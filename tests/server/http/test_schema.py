"""Sends to every route what the OpenAPI document allows and forbids; each answer is as the document says.

Schemathesis makes the requests, the same ones each time: no 5xx, only documented statuses, types and bodies. That all
which the document allows is accepted is not asked for: it cannot say that a region lies inside the picture.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance

from bbmr_client.encoding.encoder import encode
from bbmr_server.app import create_app
from bbmr_server.http.openapi import CONTAINER_TYPES
from bbmr_server.settings import Settings
from tests.hypothesis_profiles import examples
from tests.server.conftest import _listen as listening
from tests.server.conftest import wait_until
from tests.server.fakes import FakeNetwork, fake_engine
from tests.shared import parts

CONTAINERS = [encode(parts.picture(*size)).to_bytes() for size in ((40, 30), (1, 1), (150, 20))]
BODIES = st.one_of(st.sampled_from(CONTAINERS), st.sampled_from(CONTAINERS).map(lambda body: body[:-9]))
for kind in CONTAINER_TYPES:
    schemathesis.openapi.media_type(kind, BODIES)

kept, cached = tempfile.TemporaryDirectory(), tempfile.TemporaryDirectory()
chosen = Settings(store=kept.name, store_reads="open", picture_cache=cached.name)
engine = fake_engine(FakeNetwork(), chosen)
app = create_app(chosen, engine)
schema = schemathesis.openapi.from_dict(app.openapi())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(app) as port:
        wait_until(lambda: engine.ready)
        yield f"http://127.0.0.1:{port}"


@schema.parametrize()
@settings(
    max_examples=examples(30),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_a_route_answers_as_the_document_says(case: schemathesis.Case, url: str) -> None:
    case.call_and_validate(base_url=url, excluded_checks=[positive_data_acceptance])
