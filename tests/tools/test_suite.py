"""What the tests rely on in pytest and its plugins."""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="only workers of pytest-xdist have groups")
@pytest.mark.xdist_group("alone")
def test_a_group_stays_together(request: pytest.FixtureRequest) -> None:
    """Under pytest 9.2 it did not, without a word: each worker started a browser and computed everything anew."""
    assert request.node.nodeid.endswith("@alone")
