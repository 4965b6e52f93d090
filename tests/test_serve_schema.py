"""What the OpenAPI document allows, and what it does not, makes no route fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import response_schema_conformance

from seqclass.bundle import Bundle
from seqclass.serve.app import create_app
from seqclass.serve.limits import Limits

pytestmark = pytest.mark.slow


@pytest.fixture
def document(make_bundle: Callable[..., Bundle]) -> Any:
    app = create_app({"small": make_bundle(pool="centre-max")}, Limits(explained=100_000))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_makes_a_route_fail(case: Any) -> None:
    answer = case.call()
    assert answer.status_code < 500, answer.text
    if answer.status_code == 200:
        case.validate_response(answer, checks=[response_schema_conformance])
