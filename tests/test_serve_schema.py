"""What the OpenAPI document allows, and what it does not, makes no route fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import response_schema_conformance

from seqclass.bundle import Bundle
from seqclass.serve.app import create_app
from seqclass.serve.limits import Limits

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_request_makes_a_route_fail(make_bundle: Callable[..., Bundle], mode: GenerationMode) -> None:
    app = create_app({"small": make_bundle(pool="centre-max")}, Limits(explained=100_000))
    routes = []
    for found in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations():
        route = found.ok()
        if mode is GenerationMode.NEGATIVE and not [*route.iter_parameters(), *route.body]:
            # There is nothing to get wrong.
            continue
        routes.append(f"{route.method.upper()} {route.path}")

        @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=route.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            answer = case.call()
            assert answer.status_code < 500, answer.text
            if answer.status_code == 200:
                case.validate_response(answer, checks=[response_schema_conformance])

        ask()
    assert {"POST /predict", "POST /explain", "POST /invocations", "POST /jobs"} <= set(routes)
