"""Programs as machine code: launches, branches and loops over them, errors between them."""

from __future__ import annotations

import numpy as np
import pytest
from smelt.codegen.llvm.module import emit_program
from smelt.ir import dtypes
from smelt.ir.loop.grammar import (
    Accumulate,
    Branch,
    Buffer,
    Check,
    Comment,
    Kernel,
    Kind,
    Launch,
    Place,
    Program,
    Store,
    While,
)
from smelt.ir.scalar import Const, Load, apply, integer
from smelt.runtime.executable import DataError

from tests.codegen.llvm import native
from tests.codegen.llvm.building import (
    F32,
    I64,
    below,
    check,
    i,
    kernel,
    loop,
    numbers,
)
from tests.codegen.llvm.native import buffer


def test_an_error_ends_the_program_before_the_next_launch() -> None:
    x, y = buffer("x", I64, 1), buffer("y", I64, 1)
    first = kernel(
        "first", (x,), (), Check(below(Load(x, (integer(0),)), 5), 2, integer(9), integer(0))
    )
    second = kernel("second", (y,), (y,), Store(y, (integer(0),), integer(3)))
    program = Program(
        "two", (first, second),
        (Launch("first", (Place("input", 0),)), Launch("second", (Place("output", 0),))),
        (x,), (y,),
    )  # fmt: skip
    out = np.zeros(1, np.int64)
    assert native.run(program, [np.array([7])], outputs=[out]) == DataError(2, 9, 0)
    assert out[0] == 0
    check(program, np.array([4]))


def _flow() -> Program:
    """Return a program that counts n down in the arena while it adds up, then branches."""
    n, total, flag = (buffer(name, dtype, 1) for name, dtype in
                      (("n", I64), ("total", I64), ("flag", dtypes.bool_)))  # fmt: skip
    zero = (integer(0),)
    given = buffer("given", I64, 1)
    start = kernel("start", (given, n, total), (n, total), Comment("begin"),
                   Store(n, zero, Load(given, zero)),
                   Store(total, zero, integer(0)))  # fmt: skip
    test = kernel("test", (n, flag), (flag,),
                  Store(flag, zero, apply("gt", Load(n, zero), integer(0))))  # fmt: skip
    work = kernel("work", (n, total), (n, total),
                  Accumulate(total, zero, "add", Load(n, zero)),
                  Accumulate(n, zero, "add", integer(-1)))  # fmt: skip
    rest = apply("mod", Load(total, zero), integer(2))
    even = kernel("even", (total, flag), (flag,), Store(flag, zero, apply("eq", rest, integer(0))))
    out = buffer("out", I64, 1)
    yes = kernel("yes", (total, out), (out,), Store(out, zero, Load(total, zero)))
    no = kernel("no", (total, out), (out,), Store(out, zero, apply("neg", Load(total, zero))))
    arena = {
        name: Place("arena", offset) for name, offset in (("n", 0), ("total", 64), ("flag", 128))
    }
    return Program(
        "flow", (start, test, work, even, yes, no),
        (
            Launch("start", (Place("input", 0), arena["n"], arena["total"])),
            While((Launch("test", (arena["n"], arena["flag"])),), arena["flag"],
                  (Launch("work", (arena["n"], arena["total"])),)),
            Launch("even", (arena["total"], arena["flag"])),
            Branch(arena["flag"], (Launch("yes", (arena["total"], Place("output", 0))),),
                   (Launch("no", (arena["total"], Place("output", 0))),)),
        ),
        (given,), (out,), arena_bytes=192,
    )  # fmt: skip


@pytest.mark.parametrize(("n", "expected"), [(0, 0), (1, -1), (4, 10), (5, -15)])
def test_branch_and_while(n: int, expected: int) -> None:
    assert check(_flow(), np.array([n]))[0][0] == expected


def test_equal_kernels_are_compiled_once() -> None:
    x, y, z = (buffer(n, F32, 8) for n in "xyz")

    def double(name: str, a: Buffer, b: Buffer) -> Kernel:
        body = loop(i, 8, Kind.PARALLEL, Store(b, (i,), apply("add", Load(a, (i,)), Load(a, (i,)))))
        return kernel(name, (a, b), (b,), body)

    arena = Place("arena", 0)
    steps = (
        Launch("first", (Place("input", 0), arena)),
        Launch("second", (arena, Place("output", 0))),
    )
    kernels = (double("first", x, y), double("second", x, y))
    program = Program("twice", kernels, steps, (x,), (z,), arena_bytes=64)
    check(program, numbers(8))
    text = emit_program(program, native.best()).llvm_ir
    assert text.count("call void @first(") == 2
    assert "@second" not in text


def test_the_same_program_gives_the_same_bytes() -> None:
    target = native.best()
    assert emit_program(_flow(), target).object == emit_program(_flow(), target).object


def test_memory_is_kept_between_calls() -> None:
    x, w, k, y = (buffer(n, F32, 8) for n in "xwky")
    two = Const(2.0, F32)
    doubled = Store(k, (i,), apply("mul", Load(w, (i,)), two))
    summed = Store(y, (i,), apply("add", Load(x, (i,)), Load(k, (i,))))
    double = kernel("double", (w, k), (k,), loop(i, 8, Kind.VECTOR, doubled))
    add = kernel("add", (x, k, y), (y,), loop(i, 8, Kind.PARALLEL, summed))
    kept = Place("kept", 64)
    program = Program(
        "keeping", (double, add), (Launch("add", (Place("input", 0), kept, Place("output", 0))),),
        (x, w), (y,), derive=(Launch("double", (Place("input", 1), kept)),), kept_bytes=128,
    )  # fmt: skip
    check(program, numbers(8), numbers(8))
    text = emit_program(program, native.best()).llvm_ir
    assert text.count("define i32 @") == 2
    assert "@derive" not in emit_program(_flow(), native.best()).llvm_ir
