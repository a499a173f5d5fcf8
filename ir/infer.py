"""Type inference: from an op, its attributes and its operands' types to its results' types."""

from __future__ import annotations

from typing import Any

from smelt.ir.errors import InternalError, TypeInferenceError
from smelt.ir.graph import Graph
from smelt.ir.op import OpDef, Region
from smelt.ir.types import TensorType


def infer_types(
    op: OpDef, attrs: Any, operands: tuple[TensorType, ...], regions: tuple[Graph, ...] = ()
) -> tuple[TensorType, ...]:
    """Return the types of the results of `op`.

    Raises:
        TypeInferenceError: the operands are too few or too many, or do not fit.
    """
    fixed = len(op.operands) - op.variadic
    if len(operands) < fixed or (len(operands) > fixed and not op.variadic):
        names = ", ".join(op.operands) or "none"
        found = ", ".join(map(str, operands)) or "none"
        raise TypeInferenceError(f"{op.name}: takes the operands {names}; got {found}")
    if isinstance(op.rule, Region):
        results = op.infer(attrs, *operands, regions=regions)
    elif regions:
        raise TypeInferenceError(f"{op.name}: owns no graphs; got {len(regions)}")
    else:
        results = op.infer(attrs, *operands)
    if len(results) != len(op.results) and not op.results[-1].startswith("*"):
        raise InternalError(f"{op.name}: infer gives {len(results)} results of {op.results}")
    return results
