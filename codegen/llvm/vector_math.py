"""Vector maths."""

from __future__ import annotations

from smelt.codegen.llvm.values import Value
from smelt.codegen.llvm.writer import Writer


def apply(w: Writer, op: str, *v: Value) -> Value:
    raise KeyError(op)
