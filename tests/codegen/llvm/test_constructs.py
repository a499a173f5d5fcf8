"""Each kind of loop, statement and memory as machine code, against the loop interpreter."""

from __future__ import annotations

import ast
import typing
from pathlib import Path

import numpy as np
import pytest
from smelt.codegen.llvm.module import emit_program
from smelt.ir.dim import symbol
from smelt.ir.loop import grammar
from smelt.ir.loop.grammar import (
    Accumulate,
    Alloc,
    Barrier,
    Buffer,
    Check,
    If,
    Kind,
    Let,
    Space,
    Store,
    row_major_buffer,
)
from smelt.ir.loop.verify import verify_program
from smelt.ir.scalar import Load, Var, apply, integer
from smelt.runtime.executable import DataError

from tests.codegen.llvm import native
from tests.codegen.llvm.building import (
    F32,
    I64,
    ONE,
    X,
    Y,
    below,
    check,
    i,
    j,
    k,
    kernel,
    l,
    loop,
    m,
    numbers,
    plus,
    times,
)
from tests.codegen.llvm.native import buffer


@pytest.mark.parametrize("kind", [Kind.SERIAL, Kind.PARALLEL, Kind.UNROLL, Kind.BLOCK])
@pytest.mark.parametrize(("start", "stop", "step"), [(0, 8, 1), (1, 8, 3), (5, 5, 1), (7, 8, 4)])
def test_loops_over_constant_bounds(kind: Kind, start: int, stop: int, step: int) -> None:
    body = Store(Y, (i, j), apply("add", Load(X, (i, j)), ONE))
    zero = loop(k, 8, Kind.SERIAL, loop(l, 40, Kind.SERIAL, Store(Y, (k, l), ONE)))
    nest = loop(i, stop, kind, loop(j, 40, Kind.SERIAL, body), start=start, step=step)
    check(kernel("loops", (X, Y), (Y,), zero, nest), numbers(8, 40))


def test_parallel_loops_collapse_over_lets_and_symbolic_bounds() -> None:
    n = symbol("n")
    x, y = buffer("x", F32, n, 6, 5), buffer("y", F32, n, 6, 5)
    row = Var("row")
    inner = loop(k, 5, Kind.PARALLEL, Store(y, (i, row, k), Load(x, (i, row, k))), start=1, step=2)
    nest = loop(i, Var("n"), Kind.PARALLEL,
                loop(j, 3, Kind.PARALLEL, Let(row, times(j, 2), (inner,))))  # fmt: skip
    fill = loop(l, Var("n"), Kind.SERIAL, loop(m, 6, Kind.SERIAL, *(
        Store(y, (l, m, integer(c)), ONE) for c in range(5))))  # fmt: skip
    check(kernel("collapse", (x, y), (y,), fill, nest, sizes=("n",)), numbers(4, 6, 5),
          sizes={"n": 4})  # fmt: skip


def test_parallel_loop_whose_inner_bound_varies() -> None:
    fill = loop(k, 8, Kind.SERIAL, loop(l, 40, Kind.SERIAL, Store(Y, (k, l), ONE)))
    inner = loop(j, times(i, 3), Kind.PARALLEL, Store(Y, (i, j), Load(X, (i, j))))
    check(kernel("triangle", (X, Y), (Y,), fill, loop(i, 8, Kind.PARALLEL, inner)), numbers(8, 40))


@pytest.mark.parametrize("extent", [1, 10, 17])
def test_masked_lanes_past_the_end_of_a_local_row(extent: int) -> None:
    # A row shorter than a vector register: inactive lanes lie past it, on the stack.
    row = row_major_buffer("row", F32, (extent,), Space.LOCAL)
    x, y = buffer("x", F32, 8, extent), buffer("y", F32, 8, extent)
    inside = below(l, extent)
    fill = loop(l, 32, Kind.VECTOR, If(inside, (Store(row, (l,), Load(x, (i, l))),)))
    total = Accumulate(row, (integer(0),), "add", Load(row, (integer(extent - 1),)))
    drain = loop(m, 32, Kind.VECTOR, If(below(m, extent), (Store(y, (i, m), Load(row, (m,))),)))
    nest = loop(i, 8, Kind.SERIAL, Alloc(row, (fill, total, drain)))
    check(kernel("row", (x, y), (y,), nest), numbers(8, extent))


def test_scratch_memory_is_the_workers_own() -> None:
    x, y = buffer("x", F32, 64, 32), buffer("y", F32, 64, 32)
    first, second = (row_major_buffer(n, F32, (32,), Space.SCRATCH) for n in ("first", "second"))
    fill = loop(j, 32, Kind.SERIAL, Store(first, (j,), Load(x, (i, j))))
    turn = loop(k, 32, Kind.SERIAL,
                Store(second, (k,), Load(first, (apply("sub", integer(31), k),))))  # fmt: skip
    out = loop(l, 32, Kind.VECTOR, Store(y, (i, l), Load(second, (l,))))
    nest = loop(i, 64, Kind.PARALLEL, Alloc(first, (fill, Alloc(second, (turn, out)))))
    built = kernel("turned", (x, y), (y,), nest)
    check(built, numbers(64, 32))
    assert emit_program(native.program_of(built), native.best()).object.scratch_bytes == 256


def test_checks_report_the_lane_and_leave() -> None:
    x, at, y = buffer("x", F32, 10), buffer("at", I64, 32), buffer("y", F32, 32)
    index = Load(at, (plus(i, l),))
    good = apply("and", apply("ge", index, integer(0)), below(index, 10))
    body = (Check(good, 1, index, integer(10)), Store(y, (plus(i, l),), Load(x, (index,))))
    masked = (If(apply("ne", index, integer(-1)), body),)
    data = np.arange(32) % 10
    for lanes in (1, 16):
        for statements in (body, masked):
            vector = loop(l, lanes, Kind.VECTOR, *statements)
            nest = loop(i, 32, Kind.PARALLEL, vector, step=lanes)
            program = native.program_of(kernel("picked", (x, at, y), (y,), nest))
            verify_program(program)
            assert isinstance(native.run(program, [numbers(10), data]), tuple)
            wrong = data.copy()
            wrong[21] = 77
            assert native.run(program, [numbers(10), wrong]) == DataError(1, 77, 10)
            wrong[21] = -1
            found = native.run(program, [numbers(10), wrong])
            assert isinstance(found, tuple) is (statements is masked)


def test_threads_of_a_block_run_in_lockstep() -> None:
    # Each block reverses a row in shared memory, then sums prefixes up to the thread's number.
    x, y = buffer("x", F32, 6, 32), buffer("y", F32, 6, 32)
    shared = row_major_buffer("row", F32, (32,), Space.SHARED)
    own = row_major_buffer("own", F32, (1,), Space.LOCAL)
    put = Store(shared, (apply("sub", integer(31), j),), Load(x, (i, j)))
    total = loop(
        k, plus(j, 1), Kind.SERIAL, Accumulate(own, (integer(0),), "add", Load(shared, (k,)))
    )
    get = Alloc(own, (Store(own, (integer(0),), ONE), total,
                      Store(y, (i, j), Load(own, (integer(0),)))))  # fmt: skip
    thread = loop(j, 32, Kind.THREAD, put, Barrier(), get)
    built = kernel("block", (x, y), (y,), loop(i, 6, Kind.BLOCK, Alloc(shared, (thread,))))
    check(built, numbers(6, 32), exact=False)


def test_two_levels_of_threads() -> None:
    x, y = buffer("x", F32, 8, 8), buffer("y", F32, 8, 8)
    shared = row_major_buffer("tile", F32, (4, 4), Space.SHARED)
    row, column = plus(times(i, 4), k), plus(times(j, 4), l)
    put = Store(shared, (l, k), Load(x, (row, column)))
    get = If(below(k, l), (Store(y, (row, column), Load(shared, (k, l))),),
             (Store(y, (row, column), Load(x, (row, integer(0)))),))  # fmt: skip
    threads = loop(k, 4, Kind.THREAD, loop(l, 4, Kind.THREAD, put, Barrier(), get))
    blocks = loop(i, 2, Kind.BLOCK, loop(j, 2, Kind.BLOCK, Alloc(shared, (threads,))))
    check(kernel("tiles", (x, y), (y,), blocks), numbers(8, 8))


def test_strided_inputs_and_symbolic_strides() -> None:
    n = symbol("n")
    x = Buffer("x", F32, (n, 5), (1, n))
    y = buffer("y", F32, n, 5)
    nest = loop(
        i, Var("n"), Kind.PARALLEL, loop(j, 5, Kind.SERIAL, Store(y, (i, j), Load(x, (i, j))))
    )
    data = np.asfortranarray(numbers(7, 5))
    check(kernel("columns", (x, y), (y,), nest, sizes=("n",)), data, sizes={"n": 7})


def test_names_that_llvm_does_not_take() -> None:
    x, y = buffer("%0", F32, 4), buffer("y.1", F32, 4)
    body = loop(Var("scratch"), 4, Kind.SERIAL,
                Store(y, (Var("scratch"),), Load(x, (Var("scratch"),))))  # fmt: skip
    check(kernel("run", (x, y), (y,), body), numbers(4))


def test_every_construct_is_emitted_by_a_test() -> None:
    """Look for each statement, step and kind in these files: whatever is added must be tested."""
    used: set[str] = set()
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Name(name):
                    used.add(name)
                case ast.Attribute(ast.Name(owner), name):
                    used.add(f"{owner}.{name}")
                case _:
                    pass
    wanted = {c.__name__ for c in (*typing.get_args(grammar.Stmt), *typing.get_args(grammar.Step))}
    wanted |= {f"Kind.{kind.name}" for kind in Kind}
    wanted |= {f"Space.{space.name}" for space in Space if space is not Space.GLOBAL}
    assert wanted <= used
