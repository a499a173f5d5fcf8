from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from smelt.runtime import get_num_threads, set_num_threads

sys.path.insert(0, str(Path(__file__).parent))  # for `programs`, also in child processes


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = get_num_threads()
    set_num_threads(2)
    yield
    set_num_threads(before)
