"""Tensors inside of tuples, lists, dicts and dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from smelt.base import TensorBase


def leaves_of(value: Any) -> Iterator[Any]:
    """Yield the tensors in `value`, in the order of their containers."""
    if isinstance(value, TensorBase):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from leaves_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves_of(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from leaves_of(getattr(value, field.name))
