"""Put expressions into loops: what is used twice is computed once, and as far out as it can be.

Takes perfect loops and the statements of the innermost body, whose expressions may share parts (the
same object in several places); gives loop IR, whose expressions are trees, with a `Let` for each
shared part and for each costly part that does not change in the inner loops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from smelt.ir import scalar
from smelt.ir.dim import Dim
from smelt.ir.loop.builder import Names, loop
from smelt.ir.loop.grammar import Accumulate, Check, Let, Stmt, Store
from smelt.ir.scalar import Apply, Const, Cost, Expr, Load, Read, Var

Loop = tuple[Var, int | Dim]
Item = Store | Accumulate | Check


def nest(
    loops: Sequence[Loop], items: Sequence[Item], bound: Mapping[Var, Expr], names: Names
) -> tuple[Stmt, ...]:
    """Return loops around statements.

    Args:
        loops: variables with their extents, outermost first.
        items: statements of the body, in order.
        bound: variables that occur in them and must be bound to these values.
        names: supply of names of the kernel.
    """
    if any(extent == 0 for _, extent in loops):
        items = [i for i in items if isinstance(i, Check) and not _is_vacuous(i, bound)]
    same = _Same()
    items = [same.item(item) for item in items]
    bound = {variable: same.expr(value) for variable, value in bound.items()}
    work = _Binder(loops, items, bound, names)
    for item in items:
        work.add(item)
    return work.finish(loops)


class _Same:
    """Makes equal expressions one object, so that they are computed once."""

    def __init__(self) -> None:
        self.known: dict[Expr, Expr] = {}
        self.done: dict[int, Expr] = {}
        self.keep: list[Expr] = []

    def expr(self, expr: Expr) -> Expr:
        """Return the one object that stands for `expr`."""
        if isinstance(expr, Const | Var | Read):
            return expr
        found = self.done.get(id(expr))
        if found is None:
            # Parts first: then comparing two wholes compares objects, not trees.
            whole = scalar.rebuild(expr, self.expr) if isinstance(expr, Apply) else expr
            found = self.done[id(expr)] = self.known.setdefault(whole, whole)
            self.keep.append(expr)
        return found

    def item(self, item: Item) -> Item:
        """Return a statement over such objects."""
        if isinstance(item, Check):
            parts = (self.expr(e) for e in (item.holds, item.value, item.limit))
            holds, value, limit = parts
            return Check(holds, item.code, value, limit)
        return replace(item, value=self.expr(item.value))


@dataclass
class _Block:
    """What is at one depth, in order: values to bind, then (innermost) statements."""

    parts: list[tuple[Var, Expr] | Stmt]


class _Binder:
    """Binds shared and invariant parts of expressions at the depth where they belong."""

    def __init__(
        self,
        loops: Sequence[Loop],
        items: Sequence[Item],
        bound: Mapping[Var, Expr],
        names: Names,
    ) -> None:
        self.depth_of_var = {v: d + 1 for d, (v, _) in enumerate(loops)}
        self.deepest = len(loops)
        self.empty = next((d + 1 for d, (_, e) in enumerate(loops) if e == 0), self.deepest + 1)
        # A loop of symbolic extent may run not at all: nothing is loaded before it is entered.
        self.entered = max(
            (d + 1 for d, (_, e) in enumerate(loops) if isinstance(e, Dim)), default=0
        )
        self.bound = dict(bound)
        self.names = names
        self.written = {i.buffer for i in items if not isinstance(i, Check)}
        self.blocks = [_Block([]) for _ in range(self.deepest + 1)]
        self.uses: dict[int, int] = {}
        self.depths: dict[int, int] = {}
        self.done: dict[int, Expr] = {}
        self.keep: list[Expr] = []
        self.counted: set[Var] = set()
        self.emitted: set[Var] = set()
        for item in items:
            for expr in _values(item):
                self.count(expr)

    # --- analysis -----------------------------------------------------------------------------

    def count(self, expr: Expr) -> None:
        """Count how often each part is used as a value."""
        if isinstance(expr, Const | Read):
            return
        if isinstance(expr, Var):
            if expr in self.bound and expr not in self.counted:
                self.counted.add(expr)
                self.count(self.bound[expr])
            return
        seen = self.uses.get(id(expr), 0)
        self.uses[id(expr)] = seen + 1
        if seen == 0:
            self.keep.append(expr)
            for child in scalar.children(expr):
                if not isinstance(expr, Load) or self.has_bound(child):
                    self.count(child)

    def has_bound(self, expr: Expr) -> bool:
        """Tell whether an index depends on a bound variable."""
        return bool(self.bound) and any(v in self.bound for v in scalar.variables(expr))

    def depth(self, expr: Expr) -> int:
        """Return how many loops must be entered before `expr` can be evaluated."""
        if isinstance(expr, Var):
            found = self.depth_of_var.get(expr)
            if found is None:
                found = self.depth(self.bound[expr]) if expr in self.bound else 0
                self.depth_of_var[expr] = found
            return found
        if isinstance(expr, Const | Read):
            return 0
        found = self.depths.get(id(expr))
        if found is None:
            found = max((self.depth(c) for c in scalar.children(expr)), default=0)
            if isinstance(expr, Load):
                found = self.deepest if expr.buffer in self.written else max(found, self.entered)
            self.depths[id(expr)] = found
            self.keep.append(expr)
        return found

    def worth_binding(self, expr: Expr, context: int) -> bool:
        """Tell whether a part should be computed apart from what uses it."""
        if self.uses.get(id(expr), 0) > 1:
            return isinstance(expr, Load) or _is_costly(expr)
        return self.depth(expr) < context and _is_costly(expr)

    # --- emission -----------------------------------------------------------------------------

    def add(self, item: Item) -> None:
        """Append a statement, after the values that it needs."""
        inner = self.blocks[self.deepest].parts
        match item:
            case Store() | Accumulate():
                value = self.visit(item.value, self.deepest)
                position = tuple(self.indices(e) for e in item.index)
                inner.append(replace(item, value=value, index=position))
            case Check():
                parts = (item.holds, item.value, item.limit)
                depth = max(self.depth(e) for e in parts)
                if depth >= self.empty:
                    return
                holds, value, limit = (self.visit(e, depth) for e in parts)
                self.blocks[depth].parts.append(Check(holds, item.code, value, limit))

    def visit(self, expr: Expr, context: int) -> Expr:
        """Return what stands for `expr` in a part that is evaluated at depth `context`."""
        if isinstance(expr, Const | Read):
            return expr
        if isinstance(expr, Var):
            self.emit_bound(expr)
            return expr
        found = self.done.get(id(expr))
        if found is not None:
            return found
        depth = self.depth(expr)
        bind = self.worth_binding(expr, context)
        if isinstance(expr, Load):
            result: Expr = Load(expr.buffer, tuple(self.indices(e) for e in expr.index))
        else:
            result = scalar.rebuild(expr, lambda part: self.visit(part, depth if bind else context))
        if bind:
            hint = expr.buffer.name if isinstance(expr, Load) else _hint(expr)
            variable = self.names.var(hint, expr.dtype)
            self.depth_of_var[variable] = depth
            self.blocks[depth].parts.append((variable, result))
            result = variable
        if bind or self.uses.get(id(expr), 0) > 1:
            self.done[id(expr)] = result
        return result

    def indices(self, expr: Expr) -> Expr:
        """Return an index; the values from data that it depends on are bound first."""
        if self.bound:
            for variable in sorted(scalar.variables(expr), key=lambda v: v.name):
                self.emit_bound(variable)
        return expr

    def emit_bound(self, variable: Var) -> None:
        """Bind a variable on which indices depend, where its value is known."""
        if variable in self.bound and variable not in self.emitted:
            self.emitted.add(variable)
            depth = self.depth(variable)
            value = self.visit(self.bound[variable], depth)
            self.blocks[depth].parts.append((variable, value))

    def finish(self, loops: Sequence[Loop]) -> tuple[Stmt, ...]:
        """Return the loops with everything in its place."""
        body: tuple[Stmt, ...] = ()
        for depth in range(self.deepest, -1, -1):
            for part in reversed(self.blocks[depth].parts):
                body = (Let(*part, body),) if isinstance(part, tuple) else (part, *body)
            if depth:
                var, extent = loops[depth - 1]
                body = (loop(var, extent, body),) if body else ()
        return body


def _values(item: Item) -> tuple[Expr, ...]:
    if isinstance(item, Check):
        return (item.holds, item.value, item.limit)
    return (item.value, *item.index)


def _is_vacuous(check: Check, bound: Mapping[Var, Expr]) -> bool:
    """Tell whether a check reads an empty buffer, so that there is nothing to check."""
    parts = (check.holds, *(bound[v] for v in scalar.variables(check.holds) if v in bound))
    loads = (e for part in parts for e in scalar.walk(part) if isinstance(e, Load))
    return any(0 in e.buffer.shape for e in loads)


def _is_costly(expr: Expr) -> bool:
    """Tell whether evaluating `expr` again is worth avoiding: not constants and index sums."""
    match expr:
        case Load():
            return True
        case Apply(op, args, dtype):
            if dtype.is_floating_point or scalar.SCALAR_OPS[op].cost is not Cost.CHEAP:
                return True
            return any(_is_costly(a) for a in args)
        case _:
            return False


def _hint(expr: Expr) -> str:
    return expr.op if isinstance(expr, Apply) else "t"
