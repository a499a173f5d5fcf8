"""Tests of modules run on PyTorch too, where it is installed: what they ask for is what it does."""

from __future__ import annotations

from types import ModuleType

import pytest


@pytest.fixture(params=["smelt", "torch"])
def m(request: pytest.FixtureRequest) -> ModuleType:
    """The framework whose modules are tested."""
    return pytest.importorskip(request.param)
