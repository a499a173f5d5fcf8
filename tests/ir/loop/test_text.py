"""Loop IR as text: what is printed is read back, and what is wrong is pointed at."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smelt.ir import dim, dtypes, scalar
from smelt.ir.errors import ParseError
from smelt.ir.loop.builder import allocated, load, local, loop, store
from smelt.ir.loop.grammar import (
    Accumulate,
    Barrier,
    Branch,
    Buffer,
    Check,
    Comment,
    If,
    Kernel,
    Kind,
    Launch,
    Let,
    Place,
    Program,
    While,
    row_major_buffer,
)
from smelt.ir.loop.parser import parse_kernel, parse_program
from smelt.ir.loop.printer import print_expr, print_kernel, print_program
from smelt.ir.loop.verify import verify_kernel, verify_program
from smelt.ir.scalar import Const, Expr, Var

F32 = dtypes.float32

TEXT = """\
kernel rows(x: f32[n, 8] strides [1, n], y: f32[n] written) sizes (n):  # model.py:31
    # sums of rows
    for i in parallel(0, n):  # one row
        local acc: f32[2]
        acc[0] = 0.0
        let limit: i64 = min(n, 8)
        check 1(0 <= limit and limit < 9, limit, 9)
        for j in serial(0, limit, 2):
            if x[i, j] == x[i, j]:
                acc[0] += x[i, j] * 0.5 - -1.5
            else:
                acc[0] max= f32(-3_i32)
        let t: f64 = 1.0e+300_f64:
            acc[1] = f32(t)
        y[i] = acc[0] if acc[0] > 0.0 or not isnan(acc[1]) else -(acc[0] + 1.0)
"""


def test_text_is_read_back_as_it_was_written() -> None:
    kernel = parse_kernel(TEXT)
    verify_kernel(kernel)
    assert print_kernel(kernel) == TEXT.replace("1.0e+300", "1e+300")
    assert print_kernel(parse_kernel(print_kernel(kernel))) == print_kernel(kernel)


def program() -> Program:
    n = dim.symbol("n")
    x, y = row_major_buffer("x", F32, (n, 4)), row_major_buffer("y", F32, (n, 4))
    i, j = Var("i"), Var("j")
    shared = Buffer("tile", F32, (4,), (1,), space=dtypes_space_shared())
    copy = Kernel(
        "copy", (x, y),
        (loop(i, n, [loop(j, 4, [store(y, [i, j], load(x, i, j))], Kind.VECTOR)]),),
        ("n",), frozenset({"y"}), precise=True,
    )  # fmt: skip
    b, t = Var("b"), Var("t")
    block = Kernel(
        "block", (y,),
        (loop(b, n, allocated([shared], [
            loop(t, 4, [store(shared, [t], load(y, b, t)), Barrier(),
                        store(y, [b, t], load(shared, 3))], Kind.THREAD)
        ]), Kind.BLOCK),),
        ("n",), frozenset({"y"}),
    )  # fmt: skip
    steps = (
        Launch("copy", (Place("input", 0), Place("arena", 64))),
        Branch(Place("arena", 0), (Launch("block", (Place("arena", 64),)),)),
        While(
            (Launch("block", (Place("output", 0),)),),
            Place("constant", 1),
            (Launch("copy", (Place("constant", 0), Place("arena", n * 64))),),
        ),
    )
    return Program(
        "step", (copy, block), steps, (x,), (Buffer("y", F32, (n, 4), (1, n)),),
        (np.arange(40, dtype=np.float32), np.array([False]), np.array(math.nan, np.float16)),
        n * 128 + 64, ("n",), ("made by a test",),
    )  # fmt: skip


def dtypes_space_shared():
    from smelt.ir.loop.grammar import Space

    return Space.SHARED


def test_programs_are_read_back() -> None:
    original = program()
    verify_program(original)
    text = print_program(original)
    read = parse_program(text, original.constants)
    verify_program(read)
    assert print_program(read) == text
    assert read.steps == original.steps and read.arena_bytes == original.arena_bytes
    for a, b in zip(read.constants, original.constants):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype and a.shape == b.shape


values = st.one_of(
    st.floats(width=32).map(lambda v: Const(v, F32)),
    st.floats().map(lambda v: Const(v, dtypes.float64)),
    st.integers(-9, 9).map(lambda v: Const(v, dtypes.int64)),
    st.integers(-9, 9).map(lambda v: Const(v, dtypes.int8)),
    st.integers(0, 9).map(lambda v: Const(v, dtypes.uint32)),
    st.booleans().map(lambda v: Const(v, dtypes.bool_)),
    st.sampled_from([Var("v0"), Var("v1", F32), Var("v2", dtypes.bool_)]),
)


def _operations(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.tuples(st.sampled_from(sorted(scalar.SCALAR_OPS)), inner, st.data()).map(_operation)


def _operation(drawn) -> Expr:
    op, first, data = drawn
    rule = scalar.SCALAR_OPS[op]
    if rule.typing is scalar.Typing.CONVERT:
        dtype = data.draw(st.sampled_from(dtypes.REALS))
        return scalar.apply(op, first, dtype=dtype) if first.dtype.kind in rule.kinds else first
    if first.dtype.kind not in rule.kinds:
        return first
    if rule.typing is scalar.Typing.SELECT:
        return scalar.apply(op, Var("v2", dtypes.bool_), first, first)
    return scalar.apply(op, *[first] * rule.arity)


@settings(max_examples=200, deadline=None)
@given(expr=st.recursive(values, _operations, max_leaves=8))
def test_every_expression_is_read_back(expr: Expr) -> None:
    variables = (Var("v0"), Var("v1", F32), Var("v2", dtypes.bool_))
    out = local("out", expr.dtype, ())
    body = allocated([out], [store(out, [], expr)])
    for var in variables:
        zero = scalar.as_python(0, var.dtype)
        body = (Let(var, Const(zero, var.dtype), body),)
    text = print_kernel(Kernel("k", (), body))
    read = parse_kernel(text)
    stmt = read.body[0]
    while isinstance(stmt, Let):
        stmt = stmt.body[0]
    assert stmt.body[0].value == expr, print_expr(expr)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("kernel k(x: f32[4]):\n    x[0] = ?", 2, 12, "unexpected character"),
        ("kernel k(x: f3[4]):\n    pass", 1, 13, "expected a dtype"),
        ("kernel k(x: f32[4])\n    pass", 1, 20, "expected ':'"),
        ("kernel k(x: f32[4]):\n    x[0] = y", 2, 12, "expected a variable"),
        ("kernel k(x: f32[4]):\n    x[0] = 1", None, None, None),
        ("kernel k(x: f32[4]):\n    x[0] = 1.0 + 1", 2, 19, "operands of one dtype"),
        ("kernel k(x: f32[4]):\n    for i in sideways(0, 4):\n        pass", 2, 22, "sideways"),
        ("kernel k(x: f32[4]):\n    for i in serial(0, 4):", 2, None, "indented block"),
        ("kernel k(x: f32[4]):\n    pass\n  pass", 3, 3, "after the end"),
        ("kernel k(x: f32[4]):\n    x[0] : 1.0", 2, 10, "expected ="),
    ],
)
def test_errors_point_at_the_token(
    text: str, line: int | None, column: int | None, message: str | None
) -> None:
    if message is None:
        parse_kernel(text)
        return
    with pytest.raises(ParseError, match=message) as found:
        parse_kernel(text)
    assert found.value.line == line
    assert column is None or found.value.column == column


def test_a_missing_constant_is_named() -> None:
    original = program()
    with pytest.raises(ParseError, match="no constant with digest"):
        parse_program(print_program(original))


def test_comments_and_conditions_keep_their_place() -> None:
    x = row_major_buffer("x", F32, (4,))
    body = (
        Comment("first"),
        If(
            scalar.TRUE,
            (Comment("inside"),),
            (Accumulate(x, (scalar.integer(0),), "mul", load(x, 1)),),
        ),
        Check(scalar.FALSE, 1, scalar.integer(-1), scalar.integer(4)),
        Comment("last"),
    )
    kernel = Kernel("k", (x,), body, written=frozenset({"x"}))
    read = parse_kernel(print_kernel(kernel))
    assert print_kernel(read) == print_kernel(kernel)
    assert [type(s) for s in read.body] == [type(s) for s in body]
