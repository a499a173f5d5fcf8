"""Memory that programs keep between calls: printed, read, verified and interpreted."""

import numpy as np
import pytest
from smelt.ir import dtypes, scalar
from smelt.ir.errors import ParseError, VerifyError
from smelt.ir.loop.builder import load, loop, store
from smelt.ir.loop.grammar import (
    Check,
    Kernel,
    Launch,
    Place,
    Program,
    Stmt,
    row_major_buffer,
)
from smelt.ir.loop.interpreter import derive_kept, run_program
from smelt.ir.loop.parser import parse_program
from smelt.ir.loop.printer import print_program
from smelt.ir.loop.verify import verify_program
from smelt.ir.scalar import Const, Var, integer
from smelt.passes.memory_plan import plan_memory

F32 = dtypes.float32
X, W, K, Y = (row_major_buffer(name, F32, (8,)) for name in ("x", "w", "k", "y"))
I = Var("i")  # noqa: E741
DOUBLED = scalar.apply("mul", load(W, I), Const(2.0, F32))
SUM = scalar.apply("add", load(X, I), load(K, I))

DERIVE = Kernel("double", (W, K), (loop(I, 8, [store(K, [I], DOUBLED)]),), written=frozenset({"k"}))
ADD = Kernel("add", (X, K, Y), (loop(I, 8, [store(Y, [I], SUM)]),), written=frozenset({"y"}))
DERIVES = Launch("double", (Place("input", 1), Place("kept", 64)))
ADDS = Launch("add", (Place("input", 0), Place("kept", 64), Place("output", 0)))


def program(**changes) -> Program:
    """Return y = x + k, where k = 2 * w is kept."""
    fields = {
        "kernels": (DERIVE, ADD), "steps": (ADDS,), "derive": (DERIVES,), "kept_bytes": 128,
        **changes,
    }  # fmt: skip
    return Program("p", inputs=(X, W), outputs=(Y,), **fields)


def test_the_text_is_read_back() -> None:
    verify_program(program())
    text = print_program(program())
    assert "    kept 128\n" in text
    assert "    derive:\n        launch double(input 1, kept 64)\n" in text
    read = parse_program(text)
    verify_program(read)
    assert print_program(read) == text
    assert read.derive == (DERIVES,) and read.steps == (ADDS,) and read.kept_bytes == 128


def test_only_launches_derive() -> None:
    text = print_program(program()).replace("launch double(input 1, kept 64)", "if input 1:")
    with pytest.raises(ParseError):
        parse_program(text + "            pass\n")


def broken(*body: Stmt) -> Kernel:
    return Kernel("double", (W, K), body, written=frozenset({"k"}))


BROKEN = [
    (program(kept_bytes=0), "kept memory of 0"),
    (program(derive=(Launch("double", (Place("input", 1), Place("kept", 4))),)), "of 64"),
    (program(derive=(Launch("double", (Place("input", 1), Place("output", 0))),)), "is output 0"),
    (program(derive=(Launch("double", (Place("arena", 0), Place("kept", 0))),)), "is arena 0"),
    (program(derive=(Launch("double", (Place("kept", 64), Place("kept", 0))),)), "is kept 64"),
    (program(steps=(DERIVES,)), "which only `derive` does"),
    (
        program(
            kernels=(broken(Check(scalar.FALSE, 1, integer(0), integer(0))), ADD),
        ),
        "checks data",
    ),
]


@pytest.mark.parametrize(("found", "rule"), BROKEN, ids=[rule for _, rule in BROKEN])
def test_a_broken_program_is_refused(found: Program, rule: str) -> None:
    with pytest.raises(VerifyError, match=rule):
        verify_program(found)


def test_what_is_kept_outlives_its_inputs() -> None:
    x, w = np.arange(8, dtype=np.float32), np.ones(8, np.float32)
    kept = derive_kept(program(), (x, w))
    w[...] = 100
    np.testing.assert_array_equal(run_program(program(), (x, w), kept=kept)[0], x + 2)
    np.testing.assert_array_equal(run_program(program(), (x, w))[0], x + 200)


def test_planning_leaves_it_alone() -> None:
    planned = plan_memory(program(), {0: 0})
    assert planned.derive == (DERIVES,) and planned.kept_bytes == 128
    assert "double" in {k.name for k in planned.kernels}
    verify_program(planned)
