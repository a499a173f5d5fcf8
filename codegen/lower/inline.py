"""Evaluate the values of a group at symbolic points: structured definitions to scalar expressions.

An elementwise op becomes an operation on its operands at the same point, a movement op becomes its
operand at another point, and a guarded read becomes a select around a read that is clamped into
range (so that both arms may be evaluated). What a group stores is read back from where it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from smelt.ir import index, scalar
from smelt.ir.graph import Node, Value
from smelt.ir.loop.builder import Names
from smelt.ir.loop.grammar import Check
from smelt.ir.primitive import Point, definition, domains_of
from smelt.ir.scalar import Const, Expr, Read, Var, integer
from smelt.ir.structured import Reader, Stage, accumulated, left, right
from smelt.ir.types import Shape

Source = Callable[[Value, Point], Expr | None]

_AXES = tuple(scalar.axis(k) for k in range(64))


class Inliner:
    """Builds the expression of a value at a point, each pair once.

    Attributes:
        checks: conditions on data of the nodes evaluated so far.
        bound: values that indices depend on; each must be bound to its variable.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        ranges: dict[Var, index.Interval],
        source: Source,
        names: Names,
    ) -> None:
        """Prepare to evaluate the results of `nodes`.

        Args:
            nodes: the group.
            ranges: what the variables in points range over; bound variables are added to it.
            source: gives the expression of a value that is stored somewhere; None: inline it.
            names: supply of names of the kernel.
        """
        self.producers: dict[Value, Node] = {v: n for n in nodes for v in n.outputs}
        self.ranges = ranges
        self.source = source
        self.names = names
        self.checks: list[Check] = []
        self.bound: dict[Var, Expr] = {}
        self._known: dict[tuple[Value, Point], Expr] = {}
        self._checked: set[tuple[Node, Point]] = set()

    def value(self, value: Value, point: Point) -> Expr:
        """Return the element of `value` at `point`."""
        key = (value, point)
        found = self._known.get(key)
        if found is None:
            found = self.source(value, point)
            if found is None:
                node = self.producers[value]
                results = self.results(node, point)
                for output, expr in zip(node.outputs, results, strict=True):
                    self._known[output, point] = expr
                found = results[node.outputs.index(value)]
            self._known[key] = found
        return found

    def known(self, value: Value, point: Point) -> Expr | None:
        """Return the element of `value` at `point` if it has been asked for."""
        return self._known.get((value, point))

    def results(self, node: Node, point: Point) -> tuple[Expr, ...]:
        """Return the results of a node at a point, a small window folded into one expression."""
        stage = definition(node)
        assert isinstance(stage, Stage), f"{node.op.name} brings its own loops"
        if stage.combine is None:
            return self.body(node, point)
        totals: tuple[Expr, ...] | None = None
        for domain in domains_of(node, point):
            parts = self.body(node, domain)
            if totals is None:
                totals = parts
                continue
            values: dict[Expr, Expr] = {}
            for k, (total, part) in enumerate(zip(totals, parts)):
                values[left(k, total.dtype)] = total
                values[right(k, part.dtype)] = part
            totals = tuple(scalar.substitute(e, values) for e in stage.combine.combine)
        assert totals is not None, "a window has a point"
        finished: dict[Expr, Expr] = {
            accumulated(k, total.dtype): total for k, total in enumerate(totals)
        }
        return tuple(self.moved(e, finished) for e in stage.results)

    def body(self, node: Node, domain: Point) -> tuple[Expr, ...]:
        """Return the body of a node's stage at a point of its domain."""
        stage = definition(node)
        assert isinstance(stage, Stage), f"{node.op.name} brings its own loops"
        values: dict[Expr, Expr] = dict(zip(_AXES, domain))
        used_in_indices = {
            e.reader
            for r in stage.readers
            for i in (*r.index, *(() if r.inside is None else (r.inside,)))
            for e in scalar.walk(i)
            if isinstance(e, Read)
        }
        for number, reader in enumerate(stage.readers):
            operand = node.inputs[reader.operand]
            read = self.read(operand, reader, values)
            if number in used_in_indices and not isinstance(read, Const | Var):
                variable = self.names.var("at", read.dtype)
                self.bound[variable] = read
                self.ranges[variable] = index.UNBOUNDED
                read = variable
            values[Read(number, operand.type.dtype)] = read
        if stage.checks and (node, domain) not in self._checked:
            self._checked.add((node, domain))
            for check in stage.checks:
                parts = (check.holds, check.value, check.limit)
                holds, value, limit = (self.moved(e, values) for e in parts)
                self.checks.append(Check(holds, check.code, value, limit))
        return tuple(self.moved(e, values) for e in stage.body)

    def read(self, operand: Value, reader: Reader, values: Mapping[Expr, Expr]) -> Expr:
        """Return what a reader delivers."""
        point = tuple(self.position(e, values) for e in reader.index)
        if reader.inside is None or reader.fill is None:
            data = any(isinstance(e, Read) for i in reader.index for e in scalar.walk(i))
            return self.value(operand, self.clamped(point, operand.type.shape) if data else point)
        inside = index.simplify(scalar.substitute(reader.inside, values), self.ranges)
        if 0 in operand.type.shape or inside == scalar.FALSE:
            return reader.fill
        if inside == scalar.TRUE:
            return self.value(operand, point)
        read = self.value(operand, self.clamped(point, operand.type.shape))
        return scalar.select(inside, read, reader.fill)

    def position(self, expr: Expr, values: Mapping[Expr, Expr]) -> Expr:
        """Return an index expression at the current point."""
        if isinstance(expr, Const):
            return expr
        found = values.get(expr)
        if found is not None:
            return found
        return index.simplify(scalar.substitute(expr, values), self.ranges)

    def moved(self, expr: Expr, values: Mapping[Expr, Expr]) -> Expr:
        """Return an expression of a stage at the current point."""
        found = values.get(expr)
        return scalar.substitute(expr, values) if found is None else found

    def clamped(self, point: Point, shape: Shape) -> Point:
        """Return a point with each index that may be out of range brought into it."""
        found: list[Expr] = []
        for position, extent in zip(point, shape):
            top = scalar.of_dim(extent - 1)
            raised = scalar.apply("max", position, integer(0))
            lowered = scalar.apply("min", raised, top)
            found.append(index.simplify(lowered, self.ranges))
        return tuple(found)
