"""The control API as a stranger with a token would try it: every route, over TLS, by its own
OpenAPI document."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.openapi import from_url

from tests.unit.daemon.conftest import House
from tests.unit.daemon.served import TOKEN, listening, over_tcp

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
EXAMPLES = 25
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def address(house: House, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Where it listens, and the certificate to trust."""
    config = over_tcp(tmp_path)
    with listening(house, config, patience=5.0) as control:
        yield f"https://localhost:{control.port}", str(config.tls_cert)
    assert house.state.active == "base", "only the base could serve"


def test_every_route_keeps_its_word(address: tuple[str, str]) -> None:
    url, certificate = address
    how = {"headers": HEADERS, "verify": certificate}
    schema = from_url(f"{url}/v1/openapi.json", **how)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 18
    for operation in operations:
        for mode in GenerationMode:
            with contextlib.suppress(Unsatisfiable):  # a route without anything to get wrong
                fuzz(operation, mode, how)


def fuzz(operation: Any, mode: GenerationMode, how: dict[str, Any]) -> None:
    """Sound requests, or broken ones; what comes back must be what the document says."""

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(operation.as_strategy(generation_mode=mode))
    def holds(case: schemathesis.Case) -> None:
        case.call_and_validate(**how)

    holds()
