"""From a list of samples to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from smelt.functions.creation import as_tensor, tensor
from smelt.functions.joining import stack
from smelt.ir import dtypes
from smelt.tensor import Tensor


def default_convert(data: Any) -> Any:
    """Return a sample with its arrays as tensors; containers keep their kinds."""
    if isinstance(data, (np.ndarray, np.generic)) and data.dtype.kind not in "SUO":
        return as_tensor(data)
    if isinstance(data, Mapping):
        return _mapping_like(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple):
        return _tuple_like(data, [default_convert(value) for value in data])
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _sequence_like(data, [default_convert(value) for value in data])
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """Return a batch of samples: tensors stacked, numbers made tensors, containers kept.

    Args:
        batch: samples of one kind: tensors, arrays, numbers, strings, or mappings and sequences
            of such.

    Returns:
        The same structure with a batch where each sample had a value. Strings stay lists.

    Raises:
        TypeError: a sample holds something else.
        RuntimeError: tensors, or sequences, of samples differ in size.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(list(batch), 0)
    if isinstance(first, (np.ndarray, np.generic)):
        if first.dtype.kind in "SUO":
            raise TypeError(
                "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or "
                f"lists; found an array of {first.dtype}"
            )
        if isinstance(first, np.ndarray) and first.shape:
            return stack([as_tensor(array) for array in batch], 0)
        return as_tensor(np.stack(list(batch)))
    if isinstance(first, float):
        return tensor(list(batch), dtype=dtypes.float64)
    if isinstance(first, int):
        return tensor(list(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _mapping_like(
            first, {key: default_collate([sample[key] for sample in batch]) for key in first}
        )
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [default_collate(column) for column in zip(*batch)]
        if isinstance(first, tuple) and not hasattr(first, "_fields"):
            return columns  # as PyTorch: a batch of pairs is a list of two
        return _tuple_like(first, columns) if isinstance(first, tuple) else columns
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {type(first)}"
    )


def _mapping_like(like: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """Return a mapping of the kind of `like`, a plain dict where that kind takes no dict."""
    if type(like) is dict:
        return values
    try:
        return type(like)(values)  # type: ignore[call-arg]
    except TypeError:
        return values


def _tuple_like(like: tuple[Any, ...], values: list[Any]) -> Any:
    if hasattr(like, "_fields"):
        return type(like)(*values)
    return values


def _sequence_like(like: Sequence[Any], values: list[Any]) -> Any:
    if type(like) is list:
        return values
    try:
        return type(like)(values)  # type: ignore[call-arg]
    except TypeError:
        return values
