from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import smelt
from smelt.utils import data


class Squares(data.Dataset[int]):
    def __init__(self, count: int = 10) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return index * index


class Counting(data.IterableDataset[int]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


def test_tensors_row_by_row() -> None:
    x, y = smelt.arange(12).reshape(4, 3), smelt.arange(4)
    dataset = data.TensorDataset(x, y)
    assert len(dataset) == 4
    row, label = dataset[2]
    assert row.tolist() == [6, 7, 8] and label.item() == 2
    assert dataset.tensors[0] is x
    with pytest.raises(AssertionError, match="Size mismatch between tensors: 4, 3 rows"):
        data.TensorDataset(x, y[:3])


def test_concatenation() -> None:
    both = Squares(3) + Squares(4)
    assert [both[k] for k in range(7)] == [0, 1, 4, 0, 1, 4, 9]
    assert both[-1] == 9 and len(both) == 7
    with pytest.raises(IndexError, match="out of range for 7 samples"):
        both[7]
    with pytest.raises(AssertionError, match="empty"):
        data.ConcatDataset([])
    with pytest.raises(AssertionError, match="IterableDataset"):
        data.ConcatDataset([Counting(2)])
    assert list(Counting(2) + Counting(3)) == [0, 1, 0, 1, 2]


def test_stacking() -> None:
    assert data.StackDataset(Squares(), Squares())[3] == (9, 9)
    named = data.StackDataset(a=Squares(), b=Squares())
    assert named[2] == {"a": 4, "b": 4} and len(named) == 10
    with pytest.raises(ValueError, match="Size mismatch"):
        data.StackDataset(Squares(3), Squares(4))
    with pytest.raises(ValueError, match="by position or by name"):
        data.StackDataset()


def test_subsets() -> None:
    odd = data.Subset(Squares(), [1, 3, 5])
    assert list(odd) == [1, 9, 25] and len(odd) == 3
    assert odd.__getitems__([2, 0]) == [25, 1]


@pytest.mark.parametrize(
    ("lengths", "sizes"),
    [([7, 3], [7, 3]), ([0.5, 0.5], [5, 5]), ([0.33, 0.33, 0.34], [4, 3, 3]), ([1.0], [10])],
)
def test_random_split(lengths: list[Any], sizes: list[int]) -> None:
    smelt.manual_seed(3)
    parts = data.random_split(Squares(), lengths)
    assert [len(p) for p in parts] == sizes
    assert sorted(i for p in parts for i in p.indices) == list(range(10))
    generator = smelt.Generator().manual_seed(1)
    again = smelt.Generator().manual_seed(1)
    first = data.random_split(Squares(), [5, 5], generator=generator)[0].indices
    assert first == data.random_split(Squares(), [5, 5], generator=again)[0].indices


def test_random_split_refuses_other_lengths() -> None:
    with pytest.raises(ValueError, match=r"input lengths \(9\) does not equal .*\(10\)"):
        data.random_split(Squares(), [5, 4])
    with pytest.raises(ValueError, match="index 0 is not between 0 and 1"):
        data.random_split(Squares(), [1.5, -0.5])


def test_samplers() -> None:
    source = Squares(10)
    assert list(data.SequentialSampler(source)) == list(range(10))
    shuffled = data.RandomSampler(source)
    first, second = list(shuffled), list(shuffled)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    more = list(data.RandomSampler(source, num_samples=25))
    assert len(more) == 25 and sorted(more[:10]) == list(range(10))
    drawn = list(data.RandomSampler(source, replacement=True, num_samples=200))
    assert set(drawn) <= set(range(10)) and len(drawn) == 200
    assert sorted(data.SubsetRandomSampler([3, 5, 7])) == [3, 5, 7]
    with pytest.raises(ValueError, match="num_samples should be a positive"):
        data.RandomSampler(Squares(0))
    with pytest.raises(TypeError, match="boolean"):
        data.RandomSampler(source, replacement=1)  # type: ignore[arg-type]


def test_weights_decide_how_often() -> None:
    smelt.manual_seed(0)
    drawn = list(data.WeightedRandomSampler([0.1, 0.0, 0.9], 2000))
    counts = np.bincount(drawn, minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] / 2000 - 0.1) < 0.03
    assert sorted(data.WeightedRandomSampler([0.1, 0.2, 0.3], 3, replacement=False)) == [0, 1, 2]
    with pytest.raises(ValueError, match="1d sequence"):
        data.WeightedRandomSampler([[1.0]], 1)  # type: ignore[list-item]


def test_batches_of_indices() -> None:
    indices = data.SequentialSampler(Squares(7))
    batches = data.BatchSampler(indices, 3, False)
    assert list(batches) == [[0, 1, 2], [3, 4, 5], [6]] and len(batches) == 3
    whole = data.BatchSampler(indices, 3, True)
    assert list(whole) == [[0, 1, 2], [3, 4, 5]] and len(whole) == 2
    with pytest.raises(ValueError, match="batch_size"):
        data.BatchSampler(indices, 0, False)
    with pytest.raises(ValueError, match="drop_last"):
        data.BatchSampler(indices, 3, None)  # type: ignore[arg-type]
