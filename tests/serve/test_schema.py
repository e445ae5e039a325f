"""Requests that the OpenAPI document allows, or nearly, as schemathesis makes them: none fails the server."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from fivefold.verbs.catalogue import VERBS

CASES = 8  # of each kind and operation
OPERATIONS = [("POST", f"/v1/models/{{name}}/{verb}") for verb in VERBS]
OPERATIONS += [("GET", path) for path in ("/v1/models/{name}", "/v2/models/{name}", "/v2/models/{name}/ready")]
OPERATIONS += [("POST", "/v2/models/{name}/infer")]


@pytest.fixture(scope="module")
def api(address):
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_request_fails_the_server(method, path, mode, api):
    answers = []

    @given(case=api[path][method].as_strategy(generation_mode=mode))
    @settings(
        max_examples=CASES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    def ask(case):
        answer = case.call_and_validate(checks=[not_a_server_error])
        assert b"Traceback" not in answer.content
        answers.append(answer.status_code)

    ask()
    assert answers


def test_all_operations_with_a_model_are_tried(api):
    found = [operation.ok() for operation in api.get_all_operations()]
    assert {(one.method.upper(), one.path) for one in found if "{name}" in one.path} == set(OPERATIONS)
