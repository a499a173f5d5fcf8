from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import smelt
from smelt.utils.data import default_collate, default_convert

Pair = namedtuple("Pair", ["x", "y"])


def test_numbers_become_tensors() -> None:
    assert default_collate([1, 2]).dtype is smelt.int64
    assert default_collate([1.0, 2.0]).dtype is smelt.float64
    assert default_collate([True, False]).dtype is smelt.bool
    assert default_collate([np.float32(1), np.float32(2)]).dtype is smelt.float32
    assert default_collate(["a", "b"]) == ["a", "b"]


def test_arrays_and_tensors_are_stacked() -> None:
    rows = [np.arange(3, dtype=np.int16) + k for k in range(2)]
    stacked = default_collate(rows)
    assert stacked.tolist() == [[0, 1, 2], [1, 2, 3]] and stacked.dtype is smelt.int16
    assert default_collate([smelt.ones(2), smelt.zeros(2)]).tolist() == [[1, 1], [0, 0]]
    with pytest.raises(RuntimeError):
        default_collate([smelt.ones(2), smelt.ones(3)])
    with pytest.raises(TypeError, match="found an array"):
        default_collate([np.array(["a"]), np.array(["b"])])


def test_containers_keep_their_kinds() -> None:
    pairs = default_collate([Pair(1, 2.0), Pair(3, 4.0)])
    assert isinstance(pairs, Pair) and pairs.x.tolist() == [1, 3] and pairs.y.tolist() == [2, 4]
    mapping = default_collate([OrderedDict(a=1, b="x"), OrderedDict(a=2, b="y")])
    assert type(mapping) is OrderedDict
    assert mapping["a"].tolist() == [1, 2] and mapping["b"] == ["x", "y"]
    columns = default_collate([(1, [2.0, "p"]), (3, [4.0, "q"])])
    assert type(columns) is list and columns[0].tolist() == [1, 3]
    assert columns[1][0].tolist() == [2.0, 4.0] and columns[1][1] == ("p", "q")


@pytest.mark.parametrize("batch", [[[1, 2], [3]], [(1,), (1, 2)]])
def test_samples_of_several_lengths_are_refused(batch: list[Any]) -> None:
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate(batch)


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="found <class 'object'>"):
        default_collate([object()])


def test_conversion_of_one_sample() -> None:
    converted = default_convert({"a": np.ones(2), "b": [np.float32(3)], "c": "text", "d": (1,)})
    assert isinstance(converted["a"], smelt.Tensor) and converted["a"].tolist() == [1, 1]
    assert converted["b"][0].item() == 3 and converted["c"] == "text"
    assert isinstance(default_convert(Pair(np.ones(1), 2)), Pair)
