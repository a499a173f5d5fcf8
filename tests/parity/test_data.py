"""Loaders give PyTorch's batches: structure, dtypes, values, lengths and errors."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import smelt
from smelt.utils import data

torch = pytest.importorskip("torch")

Pair = namedtuple("Pair", ["x", "y"])

BATCHES: list[list[Any]] = [
    [1, 2, 3],
    [True, False],
    [1.5, 2.5],
    [np.float32(1), np.float32(2)],
    [np.int8(1), np.int8(2)],
    [np.arange(3), np.arange(3) + 1],
    [np.float32([[1, 2]]), np.float32([[3, 4]])],
    [np.array(1.5), np.array(2.5)],
    ["a", "b"],
    [b"a", b"b"],
    [(1, 2.0), (3, 4.0)],
    [[1, [2.0, "x"]], [3, [4.0, "y"]]],
    [{"a": 1, "b": np.ones(2)}, {"a": 2, "b": np.zeros(2)}],
    [OrderedDict(a=1), OrderedDict(a=2)],
    [Pair(1, (2, "z")), Pair(3, (4, "w"))],
    [()],
    [[], []],
]


def described(value: Any) -> Any:
    """Return a batch with its tensors as (dtype, values), for comparison across libraries."""
    if isinstance(value, (torch.Tensor, smelt.Tensor)):
        return str(value.dtype).rpartition(".")[2], value.tolist()
    if isinstance(value, Mapping):
        return type(value).__name__, {k: described(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [described(v) for v in value]
    return value


@pytest.mark.parametrize("batch", BATCHES, ids=repr)
def test_collating(batch: list[Any]) -> None:
    expected = described(torch.utils.data.default_collate(batch))
    assert described(data.default_collate(batch)) == expected


@pytest.mark.parametrize("batch", BATCHES, ids=repr)
def test_converting(batch: list[Any]) -> None:
    expected = described(torch.utils.data.default_convert(batch[0]))
    assert described(data.default_convert(batch[0])) == expected


@pytest.mark.parametrize("batch", [[object()], [None], [{1}], [[1], [1, 2]]], ids=repr)
def test_what_cannot_be_collated(batch: list[Any]) -> None:
    with pytest.raises((TypeError, RuntimeError)) as expected:
        torch.utils.data.default_collate(batch)
    with pytest.raises(expected.type):
        data.default_collate(batch)


@pytest.mark.parametrize("count", [0, 1, 7, 8])
@pytest.mark.parametrize("size", [1, 4, 10, None])
@pytest.mark.parametrize("drop_last", [False, True])
def test_loading(count: int, size: int | None, drop_last: bool) -> None:
    if size is None and drop_last:
        return
    x = np.arange(count * 2, dtype=np.float32).reshape(count, 2)
    theirs = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.from_numpy(x)), batch_size=size, drop_last=drop_last
    )
    ours = data.DataLoader(
        data.TensorDataset(smelt.from_numpy(x)), batch_size=size, drop_last=drop_last
    )
    assert len(ours) == len(theirs)
    assert described(list(ours)) == described(list(theirs))


OPTIONS: list[dict[str, Any]] = [
    {"num_workers": -1},
    {"timeout": -1},
    {"prefetch_factor": 2},
    {"persistent_workers": True},
    {"sampler": [0], "shuffle": True},
    {"batch_sampler": [[0]], "batch_size": 3},
    {"batch_size": None, "drop_last": True},
    {"batch_size": 0},
    {"shuffle": True, "generator": None},
]


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_options(options: dict[str, Any]) -> None:
    def error_of(loader: Any, source: Any) -> str | None:
        try:
            loader(source, **options)
        except (TypeError, ValueError) as error:
            return type(error).__name__
        return None

    expected = error_of(torch.utils.data.DataLoader, [1, 2, 3])
    assert error_of(data.DataLoader, [1, 2, 3]) == expected
