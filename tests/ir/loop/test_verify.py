"""Each rule of loop IR has a message that names the statement that breaks it."""

import pytest
from smelt.ir import dim, dtypes, scalar
from smelt.ir.errors import VerifyError
from smelt.ir.loop.builder import allocated, load, local, loop, scratch, store
from smelt.ir.loop.grammar import (
    Accumulate,
    Barrier,
    Buffer,
    Check,
    For,
    If,
    Kernel,
    Kind,
    Launch,
    Let,
    Place,
    Program,
    Space,
    Stmt,
    row_major_buffer,
)
from smelt.ir.loop.verify import verify_kernel, verify_program
from smelt.ir.scalar import Apply, Const, Read, Var, integer

F32 = dtypes.float32
X, Y = row_major_buffer("x", F32, (8,)), row_major_buffer("y", F32, (8,))
V, W, N = Var("i"), Var("j"), Var("n")
ONE = Const(1.0, F32)
SET = store(Y, [0], ONE)


def kernel(*body: Stmt, **options) -> Kernel:
    options = {"written": frozenset({"y"}), **options}
    return Kernel("k", (X, Y), tuple(body), **options)


SHARED = Buffer("s", F32, (4,), (1,), Space.SHARED)
BROKEN = [
    (kernel(store(Y, [0], integer(1))), "value is i64, not f32"),
    (kernel(store(Y, [V], ONE)), "i \\(i64\\) is not bound here"),
    (kernel(store(Y, [0, 0], ONE)), "1 dimensions, 2 indices"),
    (kernel(store(X, [0], ONE)), "not among the written"),
    (kernel(store(Y, [0], load(local("z", F32, (1,)), 0))), "z has no memory here"),
    (kernel(SET, written=frozenset({"z"})), "no parameters"),
    (kernel(loop(V, 2, [loop(V, 2, [SET])])), "bound twice"),
    (kernel(For(V, integer(0), integer(2), Kind.SERIAL, (), 0)), "not positive"),
    (kernel(loop(V, N, [], Kind.UNROLL), sizes=("n",)), "constant bounds"),
    (kernel(loop(V, 4, [SET], Kind.VECTOR, start=1)), "from 0 to a constant"),
    (kernel(loop(V, 4, [SET], Kind.VECTOR)), "store into one element"),
    (kernel(loop(V, 4, [loop(W, V, [])], Kind.VECTOR)), "differs between the lanes"),
    (kernel(loop(V, 4, [loop(W, 4, [], Kind.PARALLEL)])), "more than parallel"),
    (kernel(If(scalar.TRUE, (loop(V, 4, [], Kind.PARALLEL),))), "more than parallel"),
    (kernel(loop(V, 4, [], Kind.THREAD)), "outside a block"),
    (kernel(loop(V, 4, [loop(W, 4, [], Kind.BLOCK)])), "inside another kind"),
    (kernel(Barrier()), "outside the threads"),
    (kernel(*allocated([SHARED], [])), "belongs to a block"),
    (kernel(*allocated([X], [])), "bound twice"),
    (kernel(*allocated([row_major_buffer("z", F32, (1,))], [])), "through parameters"),
    (kernel(*allocated([local("z", F32, (dim.symbol("n"),))], []), sizes=("n",)), "constant size"),
    (kernel(*allocated([scratch("z", F32, (dim.symbol("q"),))], [])), "unknown sizes \\['q'\\]"),
    (
        kernel(loop(V, 4, allocated([scratch("z", F32, (1,))], []), Kind.VECTOR)),
        "local memory alone",
    ),
    (kernel(Accumulate(Y, (integer(0),), "sub", ONE)), "none of"),
    (kernel(Accumulate(Y, (integer(0),), "and", ONE)), "does not take f32"),
    (kernel(Check(scalar.TRUE, 99, integer(0), integer(0))), "no code"),
    (kernel(If(integer(1), ())), "condition is i64, not bool"),
    (kernel(Let(Var("t", F32), integer(1), ())), "value is i64, not f32"),
    (kernel(store(Y, [0], Read(0, F32))), "belongs in a stage"),
    (kernel(store(Y, [0], Apply("add", (ONE, integer(1)), F32))), "operands of one dtype"),
    (kernel(store(Y, [0], Apply("frob", (ONE,), F32))), "no operation frob"),
    (kernel(store(Y, [0], Apply("eq", (ONE, ONE), F32))), "gives bool, not f32"),
    (kernel(loop(Var("not"), 4, [])), "cannot be a name"),
]


@pytest.mark.parametrize(("broken", "rule"), BROKEN, ids=[rule for _, rule in BROKEN])
def test_a_broken_rule_is_named(broken: Kernel, rule: str) -> None:
    with pytest.raises(VerifyError, match=rule) as found:
        verify_kernel(broken)
    assert str(found.value).startswith("kernel k")


def test_the_message_shows_the_statement() -> None:
    with pytest.raises(VerifyError, match=r"`y\[0\] = 1`"):
        verify_kernel(kernel(store(Y, [0], integer(1))))


def program(*steps, arena: int = 256, **changes) -> Program:
    fields = {"kernels": (kernel(SET),), "inputs": (X,), "outputs": (Y,), **changes}
    return Program("p", steps=steps, arena_bytes=arena, **fields)


GOOD = Launch("k", (Place("input", 0), Place("output", 0)))
PROGRAMS = [
    (program(Launch("q", ())), "no kernel is called q"),
    (program(Launch("k", (Place("input", 0),))), "has 2 parameters"),
    (program(Launch("k", (Place("input", 1), Place("output", 0)))), "input 1, there are 1"),
    (program(Launch("k", (Place("arena", 4), Place("output", 0)))), "multiple of 64"),
    (program(Launch("k", (Place("arena", 512), Place("output", 0)))), "arena of 256"),
    (program(GOOD, kernels=(kernel(SET), kernel(SET))), "two kernels are called k"),
    (program(GOOD, kernels=(kernel(SET, sizes=("n",)),)), "uses sizes"),
]


@pytest.mark.parametrize(("broken", "rule"), PROGRAMS, ids=[rule for _, rule in PROGRAMS])
def test_a_broken_program_is_refused(broken: Program, rule: str) -> None:
    with pytest.raises(VerifyError, match=rule):
        verify_program(broken)


def test_a_good_program_passes() -> None:
    verify_program(program(GOOD))
