"""Fixtures that any test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.gateway import GatewayProcess, demo_gateway

# A busy machine makes no property false, and the same commit gives the same answer twice. To look
# further than that: `pytest --hypothesis-profile deep`.
settings.register_profile("house", deadline=None, derandomize=True)
settings.register_profile("deep", deadline=None, max_examples=2000)
settings.load_profile("house")


@pytest.fixture(scope="session")
def demo() -> Iterator[GatewayProcess]:
    """One gateway with the real engines and the demo models, shared by the whole session.

    Starting an engine takes half a minute: tests must leave it serving. `DEMO_QWEN_PYTHON` and the
    like in the environment of the tests become settings of this gateway (see tools/compat).
    """
    given = {k.removeprefix("DEMO_"): v for k, v in os.environ.items() if k.startswith("DEMO_")}
    with demo_gateway(**given) as running:
        yield running
