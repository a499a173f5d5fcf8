"""Evaluate ops on arrays: the reference rung of the ladder, and what eager execution runs.

Takes arrays of one array namespace (NumPy, or CuPy on a GPU) and gives arrays.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from smelt.ir import dtypes, registry
from smelt.ir.errors import IndexRangeError, IntegerDivisionError, InternalError, SmeltError
from smelt.ir.graph import Graph
from smelt.ir.op import Decompose, OpDef, Region, Rules
from smelt.ir.types import TensorType

Array = Any


class ArrayRules(Rules):
    """Apply ops to arrays at once."""

    def __init__(self, xp: Any = np) -> None:
        self.xp = xp

    def __call__(
        self, op: str, *operands: Array, regions: tuple[Graph, ...] = (), **attrs: Any
    ) -> Any:
        definition = registry.OPS[op]
        results = evaluate(definition, definition.attrs(**attrs), operands, regions, self)
        return results[0] if definition.results == ("out",) else results

    def type(self, operand: Array) -> TensorType:
        return TensorType(dtypes.of_numpy(operand.dtype), operand.shape)


def evaluate(
    op: OpDef,
    attrs: Any,
    operands: tuple[Array, ...],
    regions: tuple[Graph, ...] = (),
    rules: ArrayRules | None = None,
) -> tuple[Array, ...]:
    """Return the results of `op`, by its reference, or else by its decomposition."""
    rules = NUMPY_RULES if rules is None else rules
    if op.reference is not None:
        try:
            return as_tuple(op.reference(rules.xp, attrs, *operands))
        except (IndexRangeError, IntegerDivisionError) as error:
            raise named_fault(error, op, operands) from None
    return evaluate_decomposed(op, attrs, operands, regions, rules)


def evaluate_decomposed(
    op: OpDef,
    attrs: Any,
    operands: tuple[Array, ...],
    regions: tuple[Graph, ...] = (),
    rules: ArrayRules | None = None,
) -> tuple[Array, ...]:
    """Return the results of a composite by its decomposition, of a region op by its graphs."""
    rules = NUMPY_RULES if rules is None else rules
    match op.rule:
        case Decompose(rule):
            return as_tuple(rule(rules, attrs, *operands))
        case Region(run):
            from smelt.ir.interpreter import run_graph

            return run(run_graph, attrs, regions, *operands)
        case _:
            raise InternalError(f"{op.name} has neither reference nor decomposition")


def named_fault(error: SmeltError, op: OpDef, operands: tuple[Array, ...]) -> SmeltError:
    """Return an error from data with the op and the types of its operands in the message."""
    arrived = ", ".join(
        f"{op.operand_name(k)} is {TensorType(dtypes.of_numpy(x.dtype), x.shape)}"
        for k, x in enumerate(operands)
    )
    return type(error)(f"{op.name}: {error}: {arrived}")


def as_tuple(results: Any) -> tuple[Any, ...]:
    """Return the results of a rule as a tuple."""
    return cast(tuple[Any, ...], results) if isinstance(results, tuple) else (results,)


NUMPY_RULES = ArrayRules()
