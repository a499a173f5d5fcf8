"""Recognise sums of products from the use of axes alone.

A matrix product, a convolution and its two gradients are all one thing: each axis of the domain is
used by the first factor, by the second, or by both, and is kept or summed.
"""

from __future__ import annotations

from dataclasses import dataclass

from smelt.ir import scalar
from smelt.ir.scalar import Apply, Expr, Read, Var
from smelt.ir.structured import Reader, Stage


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of a contraction, by what uses them.

    Attributes:
        batch: kept, used by both factors.
        m: kept, used by the first factor alone.
        n: kept, used by the second factor alone.
        k: summed, used by both factors.
    """

    batch: tuple[int, ...]
    m: tuple[int, ...]
    n: tuple[int, ...]
    k: tuple[int, ...]


def contraction(stage: Stage) -> Axes | None:
    """Return the axes of a stage that sums products of two readers; None if it does not."""
    if stage.combine is None or stage.combine.name != "add" or len(stage.body) != 1:
        return None
    factors = _factors(stage.body[0])
    if factors is None or stage.checks:
        return None
    used = [_axes_used(stage.readers[k]) for k in factors]
    batch: list[int] = []
    m: list[int] = []
    n: list[int] = []
    for axis in stage.parallel_axes:
        first, second = (scalar.axis(axis) in u for u in used)
        if not (first or second):
            return None
        (batch if first and second else m if first else n).append(axis)
    if not all(scalar.axis(axis) in u for axis in stage.reduce_axes for u in used):
        return None
    return Axes(tuple(batch), tuple(m), tuple(n), stage.reduce_axes)


def _factors(body: Expr) -> tuple[int, int] | None:
    """Return the readers of the two factors of a product, each possibly converted."""
    match body:
        case Apply("mul", (a, b), _):
            left, right = _reader(a), _reader(b)
            if left is not None and right is not None and left != right:
                return left, right
        case _:
            pass
    return None


def _reader(factor: Expr) -> int | None:
    match factor:
        case Read(reader, _):
            return reader
        case Apply("cast", (Read(reader, _),), _):
            return reader
        case _:
            return None


def _axes_used(reader: Reader) -> frozenset[Var]:
    found: set[Var] = set()
    for expr in (*reader.index, *(() if reader.inside is None else (reader.inside,))):
        found |= scalar.variables(expr)
    return frozenset(found)
