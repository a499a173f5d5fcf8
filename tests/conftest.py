"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep compiled programs of the tests, and of processes that they start, out of the user's."""
    before = os.environ.get("SMELT_CACHE_DIR")
    os.environ["SMELT_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["SMELT_CACHE_DIR"]
    else:
        os.environ["SMELT_CACHE_DIR"] = before
