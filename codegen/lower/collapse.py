"""Make neighbouring loops one where memory allows it: loop IR to loop IR.

    for i in serial(0, 8):                          for ij in serial(0, 32):
        for j in serial(0, 4):               →          y[ij] = x[ij] + 1.0
            y[i * 4 + j] = x[i * 4 + j] + 1.0

Two loops join when every expression in which they occur grows by as much for a step of the outer
one as for a whole run of the inner one. What is left has long inner loops, which vectorise well.
"""

from __future__ import annotations

from collections.abc import Iterator

from smelt.codegen.schedule.analysis import constant_extent, expressions
from smelt.codegen.schedule.rewrite import Body, map_expressions, with_bodies
from smelt.ir import dtypes, index, scalar
from smelt.ir.loop.builder import Names, loop
from smelt.ir.loop.grammar import For, Kind, Stmt, walk
from smelt.ir.scalar import Apply, Const, Expr, Var, integer


def collapsed(body: Body, names: Names, ranges: index.Ranges) -> Body:
    """Return statements in which nests of serial loops are joined where they can be."""

    def visit(stmt: Stmt) -> Stmt:
        stmt = with_bodies(stmt, lambda block: tuple(visit(s) for s in block))
        while isinstance(stmt, For):
            joined = _joined(stmt, names, ranges)
            if joined is None:
                return stmt
            stmt = joined
        return stmt

    return tuple(visit(s) for s in body)


def _joined(outer: For, names: Names, ranges: index.Ranges) -> For | None:
    """Return one loop for a loop and the only one inside it; None where they cannot join."""
    if len(outer.body) != 1 or not isinstance(outer.body[0], For):
        return None
    inner = outer.body[0]
    count, length = constant_extent(outer), constant_extent(inner)
    if count is None or length is None or outer.kind is not inner.kind is Kind.SERIAL:
        return None
    joint = names.var(outer.var.name)
    values: dict[Expr, Expr] = {}
    pair = (outer.var, inner.var)
    for stmt in walk(inner.body):
        for expr in expressions(stmt):
            for part in _positions(expr, pair):
                if part in values:
                    continue
                found = _over(part, pair, length, joint, ranges)
                if found is None:
                    return None
                values[part] = found

    def renamed(stmt: Stmt) -> Stmt:
        changed = map_expressions(stmt, lambda e: scalar.substitute(e, values))
        return with_bodies(changed, lambda block: tuple(renamed(s) for s in block))

    return loop(joint, count * length, tuple(renamed(s) for s in inner.body), comment=outer.comment)


def _positions(expr: Expr, pair: tuple[Var, Var]) -> Iterator[Expr]:
    """Yield the largest i64 sums and products in `expr` in which one of two variables occurs."""
    if expr.dtype is dtypes.int64 and not isinstance(expr, Const) and _is_affine(expr):
        if any(v in pair for v in scalar.variables(expr)):
            yield expr
        return
    for part in scalar.children(expr):
        yield from _positions(part, pair)


def _is_affine(expr: Expr) -> bool:
    """Tell whether an expression is made of variables by sums and products alone."""
    match expr:
        case Const() | Var():
            return True
        case Apply("add" | "sub" | "mul", args, _):
            return all(_is_affine(a) for a in args)
        case _:
            return False


def _over(
    expr: Expr, pair: tuple[Var, Var], length: int, joint: Var, ranges: index.Ranges
) -> Expr | None:
    """Return an expression over two loops as one over their joint loop, if it is one."""
    high = index.coefficient(expr, pair[0], ranges)
    low = index.coefficient(expr, pair[1], ranges)
    if not isinstance(high, int) or not isinstance(low, int) or high != low * length:
        return None
    rest = scalar.substitute(expr, {pair[0]: integer(0), pair[1]: integer(0)})
    step = scalar.apply("mul", joint, integer(low))
    return index.simplify(scalar.apply("add", rest, step), ranges)
