"""The types of one application of an op, and what of it can be differentiated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smelt.base import TensorBase
from smelt.ir.dtypes import Kind
from smelt.ir.op import NoVjp, OpDef
from smelt.ir.types import TensorType


def is_inexact(type: TensorType) -> bool:
    """Tell whether values of this type may have gradients."""
    return type.dtype.kind in (Kind.FLOAT, Kind.COMPLEX)


@dataclass(frozen=True, slots=True)
class Signature:
    """Types of operands and results.

    Attributes:
        inputs: types of the operands.
        outputs: types of the results.
        gradual: for each operand, whether it may have a gradient.
        differentiable: whether any result may require grad.
        many: whether the application gives a tuple.
    """

    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    gradual: tuple[bool, ...]
    differentiable: bool
    many: bool

    @classmethod
    def of(cls, op: OpDef, types: tuple[TensorType, ...], attrs: Any) -> Signature:
        """Infer the signature of an application.

        Raises:
            TypeInferenceError: the operands or attributes do not fit together.
        """
        outputs = op.infer(attrs, *types)
        inert = isinstance(op.vjp, NoVjp) and op.vjp.zero
        return cls(
            types,
            outputs,
            tuple([is_inexact(t) for t in types]),
            not inert and any(is_inexact(t) for t in outputs),
            op.results != ("out",),
        )

    @classmethod
    def of_region(
        cls, types: tuple[TensorType, ...], results: Sequence[TensorBase], many: bool = True
    ) -> Signature:
        """Return the signature of an application that has run already."""
        outputs = tuple([TensorType(r.dtype, tuple(r._sizes)) for r in results])
        return cls(types, outputs, tuple([is_inexact(t) for t in types]), True, many)
