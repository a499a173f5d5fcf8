"""Build kernels by hand, and compare machine code with the loop interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.loop.grammar import (
    Buffer,
    For,
    Kernel,
    Kind,
    Program,
    Stmt,
)
from smelt.ir.loop.interpreter import run_program
from smelt.ir.loop.verify import verify_program
from smelt.ir.scalar import Const, Expr, Var, apply, integer

from tests.codegen.llvm import native
from tests.codegen.llvm.native import buffer

F32, F64, I64, I32 = dtypes.float32, dtypes.float64, dtypes.int64, dtypes.int32


i, j, k, l, m = (Var(n) for n in "ijklm")  # noqa: E741


def plus(a: Expr, b: Expr | int) -> Expr:
    return apply("add", a, integer(b) if isinstance(b, int) else b)


def times(a: Expr, b: int) -> Expr:
    return apply("mul", a, integer(b))


def below(a: Expr, b: Expr | int) -> Expr:
    return apply("lt", a, integer(b) if isinstance(b, int) else b)


def loop(var: Var, stop: Expr | int, kind: Kind, *body: Stmt, start: int = 0, step: int = 1) -> For:
    end = integer(stop) if isinstance(stop, int) else stop
    return For(var, integer(start), end, kind, body, step)


def kernel(name: str, params: Sequence[Buffer], written: Sequence[Buffer], *body: Stmt,
           sizes: tuple[str, ...] = (), precise: bool = False) -> Kernel:  # fmt: skip
    names = frozenset(b.name for b in written)
    return Kernel(name, tuple(params), body, sizes, names, precise)


def check(program: Program | Kernel, *inputs: Any, exact: bool = True,
          sizes: dict[str, int] | None = None) -> tuple[Any, ...]:  # fmt: skip
    """Compare machine code at every instruction set with the loop interpreter."""
    whole = native.program_of(program) if isinstance(program, Kernel) else program
    verify_program(whole)
    expected = run_program(whole, [np.copy(a, order="K") for a in inputs], sizes)
    for level, target in native.targets().items():
        found = native.run(whole, [np.copy(a, order="K") for a in inputs], target)
        for got, want in zip(found, expected):
            if exact:
                np.testing.assert_array_equal(got, want, err_msg=level)
            else:
                close = 4e-3 if got.dtype == np.float16 else 1e-5
                np.testing.assert_allclose(got, want, rtol=close, atol=1e-5, err_msg=level)
    return expected


def numbers(*shape: int, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


X, Y = buffer("x", F32, 8, 40), buffer("y", F32, 8, 40)


ONE = Const(1.0, F32)
