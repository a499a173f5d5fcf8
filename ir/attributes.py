"""Attributes of ops: what they may hold, when two are the same, and the sizes inside them.

An attribute is None, a bool, an int, a float, a complex number, a string, a dtype, a dimension, a
constant array, or a tuple of such. Equality of Python is too coarse for them (`0.0 == -0.0`,
`1 == True`) and too fine for NaN, so `key` gives a form that compares bit for bit.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, TypeVar, cast

from smelt.ir import dim as dims
from smelt.ir.constant import ConstantValue
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType

T = TypeVar("T")
Values = tuple[Any, ...]


def items(attrs: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each attribute, in the order of their definition."""
    for field in dataclasses.fields(attrs):
        yield field.name, getattr(attrs, field.name)


def keywords(attrs: Any) -> dict[str, Any]:
    """Return the attributes as the keyword arguments that made them."""
    return dict(items(attrs))


def key(attrs: Any) -> Hashable:
    """Return a hashable form of attributes, equal for two exactly when their bits are equal.

    Raises:
        TypeError: a value is of no type that attributes may have.
    """
    values = tuple((name, value_key(value)) for name, value in items(attrs))
    return (type(attrs).__qualname__, *values)


def value_key(value: Any) -> Hashable:
    """Return a hashable form of the value of one attribute, as `key` does of all."""
    match value:
        case None:
            return None
        case bool() | str():
            return (type(value).__name__, value)
        case int() if type(value) is int:
            return ("int", value)
        case float() if type(value) is float:
            return ("float", "nan" if value != value else struct.pack("<d", value))
        case complex() if type(value) is complex:
            return ("complex", value_key(value.real), value_key(value.imag))
        case DType() | Dim():
            return value
        case ConstantValue():
            return ("constant", value.digest)
        case tuple():
            return ("tuple", *(value_key(v) for v in cast(Values, value)))
        case _:
            raise TypeError(f"{value!r} of type {type(value).__name__} is not an attribute value")


def symbols(value: Any) -> frozenset[str]:
    """Return the names of the symbolic sizes in attributes."""
    match value:
        case Dim():
            return dims.symbols(value)
        case tuple():
            return frozenset[str]().union(*(symbols(v) for v in cast(Values, value)))
        case None | bool() | int() | float() | complex() | str() | DType() | ConstantValue():
            return frozenset()
        case _:
            return frozenset[str]().union(*(symbols(v) for _, v in items(value)))


def substitute(attrs: T, values: Mapping[str, int | Dim]) -> T:
    """Return attributes with symbolic sizes replaced; the same object if none occurs."""
    if symbols(attrs).isdisjoint(values):
        return attrs
    changed = {name: _substituted(value, values) for name, value in items(attrs)}
    return type(attrs)(**changed)


def _substituted(value: Any, values: Mapping[str, int | Dim]) -> Any:
    match value:
        case Dim():
            return dims.substitute(value, values)
        case tuple():
            return tuple(_substituted(v, values) for v in cast(Values, value))
        case _:
            return value
