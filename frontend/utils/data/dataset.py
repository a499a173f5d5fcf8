"""Datasets: what has samples, by index or one after the other."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from smelt.functions.draws import randperm

if TYPE_CHECKING:
    from smelt.random import Generator
    from smelt.tensor import Tensor

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """Samples by index. A subclass gives `__getitem__`, and `__len__` where that is known.

    It may give `__getitems__(indices)`, which returns a list, where fetching many is cheaper.
    """

    def __getitem__(self, index: Any) -> T:
        """Return a sample; what a subclass must give."""
        raise NotImplementedError(f"{type(self).__name__} should implement __getitem__")

    def _collated(self, indices: list[Any]) -> Any | None:
        """Return what `default_collate` makes of these samples, None if there is no short cut."""
        return None

    def __add__(self, other: Dataset[Any]) -> ConcatDataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T], Iterable[T]):
    """Samples one after the other. A subclass gives `__iter__`.

    In a loader with workers each has a copy: see `get_worker_info` for dividing the samples.
    """

    def __add__(self, other: Dataset[Any]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset["tuple[Tensor, ...]"]):
    """Samples are the rows of tensors.

    Attributes:
        tensors: of equal sizes in dimension 0.
    """

    tensors: tuple[Tensor, ...]

    def __init__(self, *tensors: Tensor) -> None:
        """Take the tensors; AssertionError if they differ in size in dimension 0."""
        if any(tensors[0].size(0) != tensor.size(0) for tensor in tensors):
            sizes = ", ".join(str(tensor.size(0)) for tensor in tensors)
            raise AssertionError(f"Size mismatch between tensors: {sizes} rows")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple([tensor[index] for tensor in self.tensors])

    def _collated(self, indices: list[Any]) -> Any | None:
        own = type(self).__getitem__ is TensorDataset.__getitem__
        if not own or not all(type(index) is int for index in indices):
            return None
        return [tensor[indices] for tensor in self.tensors]

    def __len__(self) -> int:
        return self.tensors[0].size(0)


class StackDataset(Dataset[Any]):
    """Samples are tuples, or dicts, of the samples of several datasets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take datasets by position, or by name.

        Raises:
            ValueError: both, or none at all, or datasets of several lengths.
        """
        if bool(args) == bool(kwargs):
            raise ValueError("StackDataset takes datasets either by position or by name")
        self.datasets: Any = args or kwargs
        lengths = {len(d) for d in (args or kwargs.values())}
        if len(lengths) != 1:
            raise ValueError(f"Size mismatch between datasets: {sorted(lengths)}")
        self._length = lengths.pop()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple([dataset[index] for dataset in self.datasets])

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[T]):
    """The samples of several datasets in a row.

    Attributes:
        datasets: the datasets.
        cumulative_sizes: number of samples up to the end of each.
    """

    def __init__(self, datasets: Iterable[Dataset[T]]) -> None:
        """Take the datasets; AssertionError if there are none or one has no indices."""
        self.datasets: list[Any] = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        index %= len(self)
        number = bisect.bisect_right(self.cumulative_sizes, index)
        start = self.cumulative_sizes[number - 1] if number > 0 else 0
        return self.datasets[number][index - start]


class ChainDataset(IterableDataset[Any]):
    """The samples of several iterable datasets in a row."""

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        """Take the datasets."""
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)  # type: ignore[arg-type]


class Subset(Dataset[T]):
    """Some samples of a dataset.

    Attributes:
        dataset: the dataset.
        indices: which of its samples, in order.
    """

    def __init__(self, dataset: Dataset[T], indices: Sequence[int]) -> None:
        """Take the dataset and the indices."""
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[T]:
        """Return several samples, by the dataset's own `__getitems__` if it has one."""
        chosen = [self.indices[i] for i in indices]
        many = getattr(self.dataset, "__getitems__", None)
        return [self.dataset[i] for i in chosen] if many is None else many(chosen)

    def _collated(self, indices: list[Any]) -> Any | None:
        own = type(self).__getitem__ is Subset.__getitem__
        inner = getattr(self.dataset, "_collated", None)
        if not own or inner is None:
            return None
        return inner([self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Dataset[T], lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset[T]]:
    """Divide a dataset at random.

    Args:
        dataset: with a length.
        lengths: how many samples each part has, or fractions that add up to 1; what rounding
            leaves over goes to the first parts, one each.
        generator: of the random order.

    Returns:
        One subset a length.

    Raises:
        ValueError: the lengths do not add up to the dataset's, or a fraction is not in [0, 1].
    """
    total = len(dataset)  # type: ignore[arg-type]
    counts: list[int] = list(lengths)  # type: ignore[arg-type]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        counts = _counts(lengths, total)
    if sum(counts) != total:
        raise ValueError(
            f"Sum of input lengths ({sum(counts)}) does not equal the length of the input "
            f"dataset ({total})"
        )
    order = randperm(total, generator=generator).tolist()
    ends = itertools.accumulate(counts)
    return [Subset(dataset, order[end - n : end]) for end, n in zip(ends, counts)]


def _counts(fractions: Sequence[float], total: int) -> list[int]:
    for number, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise ValueError(f"Fraction at index {number} is not between 0 and 1")
    counts = [math.floor(total * fraction) for fraction in fractions]
    for k in range(total - sum(counts)):
        counts[k % len(counts)] += 1
    return counts
