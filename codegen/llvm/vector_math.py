"""smelt's own vector maths: every transcendental operation of `SCALAR_OPS`, for any lane count.

Each function is written once, over `Number`s, for single and double precision, scalars and vectors;
it becomes an internal function of the module that LLVM inlines. There is no table but the digits of
2/pi, no call and, but for huge arguments of sine and cosine, no branch. Errors against higher
precision are measured by `benchmarks/vector_math.py` and stated in `docs/vector_math.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from smelt.codegen.llvm import (
    library,
    vector_math_erf,
    vector_math_exp,
    vector_math_inverse,
    vector_math_log,
    vector_math_pow,
    vector_math_trig,
)
from smelt.codegen.llvm.values import Value
from smelt.codegen.llvm.vector_math_number import Number
from smelt.codegen.llvm.writer import Writer

FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "exp": vector_math_exp.exp,
    "expm1": vector_math_exp.expm1,
    "exp2": vector_math_exp.exp2,
    "log": vector_math_log.log,
    "log2": vector_math_log.log2,
    "log10": vector_math_log.log10,
    "log1p": vector_math_log.log1p,
    "sin": vector_math_trig.sin,
    "cos": vector_math_trig.cos,
    "tan": vector_math_trig.tan,
    "asin": vector_math_inverse.asin,
    "acos": vector_math_inverse.acos,
    "atan": vector_math_inverse.atan,
    "atan2": vector_math_inverse.atan2,
    "sinh": vector_math_exp.sinh,
    "cosh": vector_math_exp.cosh,
    "tanh": vector_math_exp.tanh,
    "asinh": vector_math_log.asinh,
    "acosh": vector_math_log.acosh,
    "atanh": vector_math_log.atanh,
    "erf": vector_math_erf.erf,
    "erfc": vector_math_erf.erfc,
    "pow": vector_math_pow.power,
}


def apply(w: Writer, op: str, *operands: Value) -> Value:
    """Return a function of `float` or `double` operands."""

    def body(inner: Writer, *parameters: Value) -> Value:
        return FUNCTIONS[op](*(Number(inner, p) for p in parameters)).value

    return library.call(w, op, operands, body)
