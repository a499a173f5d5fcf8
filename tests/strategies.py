"""Hypothesis strategies for random graphs over the registry, with arrays to run them on.

`graphs()` draws a list of ops and appends each to a graph, on values that are there already where
they fit. How operands and attributes of an op are drawn is said in `tests.drawing`; an op that is
not mentioned there is taken for elementwise, and an op that can be drawn in neither way fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from smelt.ir import dtypes, registry
from smelt.ir.builder import GraphBuilder
from smelt.ir.dtypes import DType, Kind
from smelt.ir.errors import TypeInferenceError
from smelt.ir.graph import Graph, Value
from smelt.ir.infer import infer_types
from smelt.ir.types import TensorType

PRIMITIVES = tuple(name for name, op in registry.OPS.items() if op.is_primitive)
DTYPES = (
    dtypes.float32,
    dtypes.float64,
    dtypes.bfloat16,
    dtypes.float16,
    dtypes.int64,
    dtypes.int32,
    dtypes.uint8,
    dtypes.bool_,
)
FLOATS = tuple(d for d in DTYPES if d.is_floating_point)
INTEGERS = tuple(d for d in DTYPES if d.is_integer)
NUMBERS = FLOATS + INTEGERS
MAX_RANK = 4
SIZES = (2, 1, 3, 0)
SPECIAL = (np.nan, np.inf, -np.inf, -0.0)


@dataclass(frozen=True)
class Case:
    """A graph, and arrays on which it runs without an error from data."""

    graph: Graph
    arrays: tuple[np.ndarray[Any, Any], ...]

    def __repr__(self) -> str:
        return f"{self.graph}\non {self.arrays!r}"


@dataclass
class Sketch:
    """A graph in the making, and the arrays for its inputs.

    Attributes:
        draw: Hypothesis's function to draw from a strategy.
        random: where elements of arrays come from.
        special: whether floats may be NaN, infinite or negative zeros.
        preferred: dtypes of new inputs, where an op takes any of them.
    """

    draw: Callable[[st.SearchStrategy[Any]], Any]
    random: np.random.Generator
    special: bool
    preferred: Sequence[DType] = DTYPES
    builder: GraphBuilder = field(default_factory=lambda: GraphBuilder("random"))
    arrays: list[np.ndarray[Any, Any]] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    def pick(self, options: Sequence[Any]) -> Any:
        """Draw one of the options."""
        return self.draw(st.sampled_from(list(options)))

    def number(self, low: int, high: int) -> int:
        """Draw an integer from low to high, both included."""
        return self.draw(st.integers(low, high))

    def shape(
        self, low: int = 0, high: int = MAX_RANK, sizes: Sequence[int] = SIZES
    ) -> tuple[int, ...]:
        """Draw a shape with a rank from low to high."""
        rank = self.number(low, high)
        return tuple(self.pick(sizes) for _ in range(rank))

    def fresh(self, dtype: DType, shape: Sequence[int], low: int = -6, high: int = 6) -> Value:
        """Append an input with elements from low to high, both included."""
        array = self.elements(dtype, tuple(shape), low, high)
        self.arrays.append(array)
        value = self.builder.input(TensorType(dtype, tuple(shape)))
        self.values.append(value)
        return value

    def elements(
        self, dtype: DType, shape: tuple[int, ...], low: int, high: int
    ) -> np.ndarray[Any, Any]:
        """Return random elements that every dtype represents exactly."""
        if dtype is dtypes.bool_:
            return self.random.integers(0, 2, shape).astype(np.bool_)
        low = max(low, 0) if dtype.kind is Kind.UINT else low
        if not dtype.is_floating_point:
            return np.asarray(self.random.integers(low, high, shape, endpoint=True)).astype(
                dtype.numpy
            )
        array = np.asarray(self.random.integers(4 * low, 4 * high, shape, endpoint=True) / 4)
        if self.special and array.size:
            array.flat[self.random.integers(array.size)] = self.random.choice(SPECIAL)
        return array.astype(dtype.numpy)

    def some(
        self,
        allowed: Sequence[DType] = DTYPES,
        low: int = 0,
        high: int = MAX_RANK,
        filled: bool = False,
    ) -> Value:
        """Give a value of an allowed dtype and rank, an earlier one or a new input.

        Args:
            allowed: dtypes.
            low: least rank.
            high: greatest rank.
            filled: whether no dimension may be 0.
        """
        allowed = [d for d in allowed if d in self.preferred] or allowed
        fitting = [
            v
            for v in self.values
            if v.type.dtype in allowed
            and low <= v.type.rank <= high
            and not (filled and 0 in v.type.shape)
        ]
        if fitting and self.number(0, 4):
            return self.pick(fitting[-4:])
        sizes = tuple(s for s in SIZES if s) if filled else SIZES
        return self.fresh(self.pick(allowed), self.shape(low, high, sizes))

    def like(self, value: Value) -> Value:
        """Give a value of the same type, an earlier one or a new input."""
        fitting = [v for v in self.values if v.type == value.type]
        if self.draw(st.booleans()):
            return self.pick(fitting)
        return self.fresh(value.type.dtype, value.type.sizes)

    def apply(self, op: str, operands: Sequence[Value], **attrs: Any) -> tuple[Value, ...]:
        """Append a node and keep its results."""
        definition = registry.OPS[op]
        results = self.builder.node(definition, operands, definition.attrs(**attrs))
        self.values.extend(results)
        return results

    def fits(self, op: str, types: Sequence[TensorType]) -> bool:
        """Tell whether an op without attributes takes operands of these types."""
        definition = registry.OPS[op]
        try:
            infer_types(definition, definition.attrs(), tuple(types))
        except TypeInferenceError:
            return False
        return True


@st.composite
def graphs(
    draw: Callable[[st.SearchStrategy[Any]], Any],
    ops: Sequence[str] = PRIMITIVES,
    last: str | None = None,
    most: int = 6,
    special: bool = True,
    preferred: Sequence[DType] = DTYPES,
) -> Case:
    """Draw a graph of ops of the registry and arrays for its inputs.

    Args:
        draw: given by Hypothesis.
        ops: names of the ops that may occur.
        last: name of the op that is appended at the end, if any.
        most: greatest number of ops drawn from `ops`.
        special: whether floats may be NaN, infinite or negative zeros.
        preferred: dtypes of inputs, where an op takes any of them; few make connected graphs.
    """
    from tests.drawing import append

    seed = draw(st.integers(0, 2**32 - 1))
    sketch = Sketch(draw, np.random.default_rng(seed), special, preferred)
    least = 0 if last is not None else 1
    for name in draw(st.lists(st.sampled_from(list(ops)), min_size=least, max_size=most)):
        append(sketch, name)
    if last is not None:
        append(sketch, last)
    produced = [v for v in sketch.values if sketch.builder.producer(v) is not None]
    chosen = draw(st.lists(st.sampled_from(produced), max_size=2)) if produced else []
    return Case(sketch.builder.finish([*produced[-1:], *chosen]), tuple(sketch.arrays))
