"""A fixed budget of random programs; `python -m tests.fuzz` tries more of them."""

from __future__ import annotations

import warnings

import pytest

from tests import fuzz


def differences(first: int, count: int) -> list[str]:
    """Return what `count` programs from seed `first` on do differently when compiled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # overflow of halves, on purpose
        return [d for seed in range(first, first + count) for d in fuzz.differences(seed)]


def test_random_programs_do_what_they_do_eagerly() -> None:
    assert not differences(0, 24)


@pytest.mark.deep
def test_many_random_programs_do_what_they_do_eagerly() -> None:
    assert not differences(1000, 200)
