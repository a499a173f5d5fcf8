"""When two results of an op count as equal.

Integers and bools must be the same. Floats are judged by a float64 referee: an error is accepted up
to four times the largest of the eager reference, or up to c · eps · Σ|terms|, with c stated by the
op and Σ|terms| estimated by the op's own value on the absolute values of its operands. Where the
result is float64 itself there is no better referee than the reference: errors there are measured
against the greatest number around.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.evaluate import evaluate
from smelt.ir.infer import infer_types
from smelt.ir.op import OpDef, Sample
from smelt.ir.types import TensorType

Array = np.ndarray[Any, Any]


def attributes(op: OpDef, sample: Sample) -> Any:
    """Return the attributes of a sample."""
    return op.attrs(**sample.attrs)


def type_of(array: Array) -> TensorType:
    """Return the type of an array."""
    return TensorType(dtypes.of_numpy(array.dtype), array.shape)


def describe(op: OpDef, sample: Sample) -> str:
    """Return a sample in words, for messages."""
    operands = ", ".join(str(type_of(x)) for x in sample.operands)
    return f"{op.name}({operands}) {dict(sample.attrs)}"


def reference_types(op: OpDef, sample: Sample) -> tuple[TensorType, ...]:
    """Return what inference says of a sample."""
    return infer_types(op, attributes(op, sample), tuple(map(type_of, sample.operands)))


def is_float(array: Array) -> bool:
    """Tell whether an array holds real floating-point numbers."""
    return dtypes.of_numpy(array.dtype).is_floating_point


def as_float64(array: Array) -> Array:
    """Return an array of floats in float64, any other as it is."""
    return array.astype(np.float64) if is_float(array) else array


_EPSILON = {dtypes.float16: 2.0**-10, dtypes.bfloat16: 2.0**-7}


def epsilon(dtype: dtypes.DType) -> float:
    """Return the distance from 1 to the next number of a dtype."""
    return _EPSILON.get(dtype) or float(np.finfo(dtype.numpy).eps)


class Referee:
    """Judges results for one sample.

    Attributes:
        expected: what the eager reference gives.
    """

    def __init__(self, op: OpDef, sample: Sample) -> None:
        self.op, self.sample = op, sample
        self.attrs = attributes(op, sample)
        self.expected = evaluate(op, self.attrs, sample.operands)
        self._exact: tuple[Array, ...] | None = None
        self._terms: tuple[Array, ...] | None = None

    def check(self, found: tuple[Array, ...], rung: str) -> None:
        """Raise AssertionError unless `found` is as good as the reference."""
        where = f"{rung}: {describe(self.op, self.sample)}"
        assert len(found) == len(self.expected), where
        for k, (mine, theirs) in enumerate(zip(found, self.expected)):
            assert type_of(mine) == type_of(theirs), f"{where}: {type_of(mine)}"
            if not is_float(theirs):
                assert np.array_equal(mine, theirs), f"{where}:\n{mine}\ninstead of\n{theirs}"
                continue
            if same_bits(mine, theirs):
                continue
            self._judge(k, mine.astype(np.float64), theirs.astype(np.float64), where)

    def _judge(self, k: int, mine: Array, theirs: Array, where: str) -> None:
        exact, terms = self._referees()
        unordinary = ~np.isfinite(theirs) | ~np.isfinite(mine)
        # A result at the edge of the range may round to infinity on one rung alone.
        top = float(dtypes.of_numpy(self.expected[k].dtype) is dtypes.float16) * 65504.0
        odd = unordinary & ~((np.abs(exact[k]) >= top) & (top > 0))
        assert np.array_equal(mine[odd], theirs[odd], equal_nan=True), (
            f"{where}: NaN or infinity differs:\n{mine}\ninstead of\n{theirs}"
        )
        ordinary = ~unordinary
        eps = epsilon(dtypes.of_numpy(self.expected[k].dtype))
        truth = np.where(np.isfinite(exact[k]), exact[k], theirs)[ordinary]
        scale = np.maximum(np.abs(truth), np.where(np.isfinite(terms[k]), terms[k], 0)[ordinary])
        if self.expected[k].dtype == np.float64:
            scale = np.maximum(scale, 64 * self._greatest())
        error = np.abs(mine[ordinary] - truth)
        eager = np.abs(theirs[ordinary] - truth).max(initial=0.0)
        smallest = 4 * float(np.finfo(np.float32).smallest_subnormal)
        bound = np.maximum(4 * eager, self.op.error * eps * scale) + smallest
        assert (error <= bound).all(), (
            f"{where}: error {error.max()} where eager's is {eager}:\n{mine}\ninstead of\n{theirs}"
        )

    def _greatest(self) -> float:
        """Return the greatest finite absolute value among operands and results."""
        arrays = [x for x in (*self.sample.operands, *self.expected) if is_float(x)]
        return max(float(np.abs(x[np.isfinite(x)]).max(initial=0.0)) for x in arrays)

    def _referees(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Return the results in float64, and those on the operands' absolute values."""
        if self._exact is None or self._terms is None:
            wide = tuple(as_float64(x) for x in self.sample.operands)
            self._exact = self._evaluate(wide)
            absolute = tuple(np.abs(x) if is_float(x) else x for x in wide)
            self._terms = tuple(np.abs(t) for t in self._evaluate(absolute))
        return self._exact, self._terms

    def _evaluate(self, operands: tuple[Array, ...]) -> tuple[Array, ...]:
        results = evaluate(self.op, self.attrs, operands)
        return tuple(np.asarray(as_float64(r)) for r in results)


def same_bits(a: Array, b: Array) -> bool:
    """Tell whether two arrays of one type are equal, NaN equal to NaN."""
    if is_float(a):
        return np.array_equal(a.astype(np.float64), b.astype(np.float64), equal_nan=True)
    return np.array_equal(a, b)
