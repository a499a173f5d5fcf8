"""What building one kernel keeps: parameters, accumulators, row buffers, stages so far.

A reduced value with inner axes lies in a buffer of the iteration, one without is a variable; a dear
value that two stages need is kept in a row buffer by the first of them. Parameters are flat:
indices are offsets, so that the schedule sees strides as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from smelt.codegen.lower.inline import Inliner
from smelt.codegen.lower.nest import Item, Loop, nest
from smelt.ir import dim as dims
from smelt.ir import index, scalar
from smelt.ir.dim import Dim
from smelt.ir.errors import LoweringError
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.group import Group, GroupStage, Reduction, inner_axes, inner_point
from smelt.ir.loop.builder import Names, for_nest, local, scratch
from smelt.ir.loop.grammar import (
    Accumulate,
    Alloc,
    Buffer,
    Let,
    Stmt,
    Store,
)
from smelt.ir.loop.printer import RESERVED
from smelt.ir.primitive import Point, definition, node_cost
from smelt.ir.scalar import Const, Cost, Expr, Load, Var
from smelt.ir.structured import Stage, accumulated, left, right
from smelt.ir.types import Shape, TensorType, row_major_strides

_SIMPLE_MONOIDS = frozenset({"add", "mul", "max", "min", "and", "or"})

# A local buffer above this size would strain the stack; it goes to the worker's scratch memory.
_LOCAL_BYTES = 4096

# A value that costs this much is kept for later stages rather than computed again.
_KEEP_COST = Cost.TRANSCENDENTAL.value
_ROW_ELEMENTS = 1 << 16


@dataclass(frozen=True, slots=True)
class Param:
    """What a parameter of a kernel holds.

    Attributes:
        kind: an input or output of the group, memory that the kernel needs for itself, or memory
            that another kernel has filled with what is derived from inputs.
        number: number of the input, output or derivation.
        type: type of the memory.
    """

    kind: Literal["input", "output", "workspace", "kept"]
    number: int
    type: TensorType


@dataclass
class Segment:
    """Part of the body of an outer iteration; all that follows is inside it if it binds."""

    stmts: tuple[Stmt, ...] = ()
    alloc: Buffer | None = None
    let: tuple[Var, Expr] | None = None


def folded(segments: Sequence[Segment]) -> tuple[Stmt, ...]:
    """Return segments as nested statements."""
    body: tuple[Stmt, ...] = ()
    for segment in reversed(segments):
        if segment.alloc is not None:
            body = (Alloc(segment.alloc, body),)
        elif segment.let is not None:
            body = (Let(*segment.let, body),)
        else:
            body = (*segment.stmts, *body)
    return body


def offset(point: Point, strides: Shape, ranges: index.Ranges) -> Expr:
    """Return the position of an element of a strided array, as one simplified expression."""
    total: Expr = scalar.integer(0)
    for position, stride in zip(point, strides):
        if stride == 0 or position == scalar.integer(0):
            continue
        step = position
        if stride != 1:
            step = scalar.apply("mul", position, scalar.of_dim(stride))
        total = step if total == scalar.integer(0) else scalar.apply("add", total, step)
    return index.simplify(total, ranges)


def flat_buffer(name: str, value: Value, strides: Shape) -> Buffer:
    """Return the parameter that holds `value`, as a one-dimensional buffer over its span."""
    span: int | Dim = 1
    for extent, stride in zip(value.type.shape, strides):
        span = span + (extent - 1) * stride
    if 0 in value.type.shape:
        span = 0
    return Buffer(name, value.type.dtype, (span,), (1,))


@dataclass
class StageDraft:
    """A stage whose expressions are known.

    Attributes:
        stage: the stage.
        inliner: what evaluated its expressions.
        items: its statements.
        rows: row buffers that it fills, by the value and its index.
    """

    stage: GroupStage
    inliner: Inliner
    items: list[Item] = field(default_factory=list[Item])
    rows: dict[tuple[Value, Point], Buffer] = field(
        default_factory=dict[tuple[Value, Point], Buffer]
    )


@dataclass
class KernelBuilder:
    """What lowering one group keeps: names, parameters, and what has been stored where."""

    region: Graph
    group: Group
    strides: Mapping[Value, Shape]
    names: Names = field(default_factory=Names)

    def __post_init__(self) -> None:
        self.ranges = dict(self.group.ranges)
        self.extents = dict(self.group.extents)
        self.outer = frozenset(self.group.outer)
        self.params: dict[Value, Buffer] = {}
        self.written: set[str] = set()
        self.stored: dict[Value, tuple[Buffer, ...]] = {}
        self.scalars: dict[Value, Expr] = {}
        self.reducing = {
            v: r for s in self.group.stages for r in s.reductions for v in r.node.outputs
        }
        self.names = Names(
            {v.name for v in self.group.extents} | symbols_of(self.region) | RESERVED
        )
        self.entered: set[Var] = set()
        self.drafts: list[StageDraft] = []
        self.dearness: dict[Value, float] = {}
        for number, value in enumerate(self.region.inputs):
            self.params[value] = self.param(value, value.name or f"x{number}")
        for number, value in enumerate(self.group.outputs):
            self.params[value] = self.param(value, value.name or f"y{number}")

    def param(self, value: Value, hint: str) -> Buffer:
        """Return the parameter of an input or output of the group."""
        return flat_buffer(self.names.fresh(hint), value, self.strides_of(value))

    def strides_of(self, value: Value) -> Shape:
        """Return the strides of an input or output."""
        found = self.strides.get(value)
        return row_major_strides(value.type.shape) if found is None else found

    def element(self, value: Value, point: Point) -> tuple[Buffer, tuple[Expr, ...]]:
        """Return where the element of a parameter at `point` lies."""
        return self.params[value], (offset(point, self.strides_of(value), self.ranges),)

    def store(self, value: Value, point: Point, expr: Expr) -> Store:
        """Return the statement that stores an element of an output."""
        buffer, position = self.element(value, point)
        self.written.add(buffer.name)
        return Store(buffer, position, expr)

    def source(self, value: Value, point: Point) -> Expr | None:
        """Return the expression of a value that lies somewhere; None if it is to be inlined."""
        known = self.scalars.get(value)
        if known is not None:
            return known
        if value in self.reducing:
            return self.reduced(value, point)
        kept = self.kept(value, point)
        if kept is not None:
            return kept
        node = self.producers.get(value)
        if node is None:
            return Load(*self.element(value, point))
        if node.op.name == "constant":
            array = node.attrs.value.array
            if array.size != 1:
                raise LoweringError("a constant with several elements stands outside its group")
            return Const(
                scalar.as_python(array.reshape(())[()], value.type.dtype), value.type.dtype
            )
        return None

    @property
    def producers(self) -> Mapping[Value, Node]:
        """The node of the group that gives each value."""
        return self.region.producers

    def role(self, value: Value) -> Param:
        """Return what the parameter of a value is."""
        if value in self.region.inputs:
            return Param("input", self.region.inputs.index(value), value.type)
        if value in self.region.outputs:
            return Param("output", self.region.outputs.index(value), value.type)
        return Param("workspace", 0, value.type)

    def inliner(self) -> Inliner:
        """Return a fresh inliner over what is stored so far."""
        return Inliner(self.group.nodes, self.ranges, self.source, self.names)

    # --- stages -------------------------------------------------------------------------------

    def entering(self, stage: GroupStage) -> GroupStage:
        """Return a stage whose axes have names that no loop of the kernel has yet."""
        renamed: dict[Expr, Expr] = {}
        for axis in stage.axes:
            if axis in self.entered:
                renamed[axis] = self.names.var(axis.name)
        axes = tuple(_as_var(renamed.get(a, a)) for a in stage.axes)
        self.entered.update(axes)
        for old, new in zip(stage.axes, axes):
            self.ranges[new] = self.ranges[old]
            self.extents[new] = self.extents[old]
        if not renamed:
            return stage

        def moved(point: Point) -> Point:
            return tuple(scalar.substitute(e, renamed) for e in point)

        reductions = tuple(
            replace(
                r, domain=moved(r.domain), kept=tuple(_as_var(renamed.get(a, a)) for a in r.kept)
            )
            for r in stage.reductions
        )
        return GroupStage(axes, reductions, tuple((v, moved(p)) for v, p in stage.stores))

    def extent(self, axis: Var) -> int | Dim:
        """Return the extent of an axis."""
        return self.extents[axis]

    def evaluate(self, stage: GroupStage) -> StageDraft:
        """Return the statements of a stage, whose reductions have their accumulators."""
        draft = StageDraft(stage, self.inliner())
        self.drafts.append(draft)
        for reduction in stage.reductions:
            draft.items += self.step(reduction, draft.inliner)
        for value, point in stage.stores:
            draft.items.append(self.store(value, point, draft.inliner.value(value, point)))
        return draft

    def kept(self, value: Value, point: Point) -> Expr | None:
        """Return a dear value that an earlier stage has computed, from a row buffer."""
        if len(self.drafts) < 2 or value not in self.producers or self.dear(value) < _KEEP_COST:
            return None
        axes = self.drafts[-1].stage.axes
        extents = tuple(self.extent(a) for a in axes)
        for draft in self.drafts[:-1]:
            others = draft.stage.axes
            if extents != tuple(self.extent(a) for a in others):
                continue
            there: dict[Expr, Expr] = dict(zip(axes, others))
            where = tuple(scalar.substitute(e, there) for e in point)
            if not set(others) <= _all_variables(where):
                continue
            expr = draft.inliner.known(value, where)
            if expr is not None and _fits_row(extents):
                row = draft.rows.get((value, where))
                if row is None:
                    row = _row_buffer(self.names.fresh("row"), expr.dtype, (_elements(extents),))
                    draft.rows[value, where] = row
                    place = offset(others, row_major_strides(extents), self.ranges)
                    draft.items.append(Store(row, (place,), expr))
                return Load(row, (offset(axes, row_major_strides(extents), self.ranges),))
        return None

    def dear(self, value: Value) -> float:
        """Return about how much it costs to compute a value from what is stored."""
        found = self.dearness.get(value)
        if found is None:
            node = self.producers.get(value)
            if node is None or value in self.reducing:
                found = 0.0
            else:
                found = node_cost(node) + sum(self.dear(v) for v in node.inputs)
            self.dearness[value] = found
        return found

    # --- reductions ---------------------------------------------------------------------------

    def reduced(self, value: Value, point: Point) -> Expr:
        """Return a reduced value, finished, at a point."""
        coordinates = self.group.coordinates[value]
        where = inner_point(coordinates, point, self.outer)
        axes = inner_axes(coordinates, self.group.extents, self.outer)
        return self.finished(value, tuple(where[a] for a in axes))

    def finished(self, value: Value, position: Point) -> Expr:
        """Return result `value` of a reduction from its accumulators at `position`."""
        node = self.reducing[value].node
        stage = definition(node)
        assert isinstance(stage, Stage), "reductions are stages"
        accumulators = self.stored[node.outputs[0]]
        parts: dict[Expr, Expr] = {
            accumulated(k, b.dtype): Load(b, position) for k, b in enumerate(accumulators)
        }
        return scalar.substitute(stage.results[node.outputs.index(value)], parts)

    def begin(self, reduction: Reduction) -> list[Segment]:
        """Return the allocation and initialisation of the accumulators of a reduction."""
        stage = definition(reduction.node)
        assert isinstance(stage, Stage) and stage.combine is not None, "reductions are stages"
        shape = tuple(self.extent(a) for a in reduction.kept)
        segments: list[Segment] = []
        buffers: list[Buffer] = []
        for identity in stage.combine.identity:
            name = self.names.fresh(reduction.node.op.name)
            buffers.append(_row_buffer(name, identity.dtype, shape))
            segments.append(Segment(alloc=buffers[-1]))
        axes = [(self.names.var(a.name), self.extent(a)) for a in reduction.kept]
        position = tuple(v for v, _ in axes)
        stores = [Store(b, position, e) for b, e in zip(buffers, stage.combine.identity)]
        segments.append(Segment(stmts=for_nest(axes, stores)))
        self.stored[reduction.node.outputs[0]] = tuple(buffers)
        return segments

    def step(self, reduction: Reduction, inliner: Inliner) -> list[Item]:
        """Return the statements that combine one element into the accumulators."""
        body = inliner.body(reduction.node, reduction.domain)
        return self.combination(reduction, body, reduction.kept, inliner.bound)

    def combination(
        self,
        reduction: Reduction,
        parts: tuple[Expr, ...],
        position: Sequence[Expr],
        bound: dict[Var, Expr],
    ) -> list[Item]:
        """Return the statements that combine values into the accumulators at a position.

        Args:
            reduction: what is reduced.
            parts: one value a component.
            position: place in the accumulators.
            bound: receives variables that the statements use, with their values.
        """
        stage = definition(reduction.node)
        assert isinstance(stage, Stage) and stage.combine is not None, "reductions are stages"
        buffers = self.stored[reduction.node.outputs[0]]
        place = tuple(position)
        if len(buffers) == 1 and stage.combine.name in _SIMPLE_MONOIDS:
            return [Accumulate(buffers[0], place, stage.combine.name, parts[0])]
        values: dict[Expr, Expr] = {}
        for k, (buffer, expr) in enumerate(zip(buffers, parts)):
            before = self.names.var("before", buffer.dtype)
            bound[before] = Load(buffer, place)
            values[left(k, buffer.dtype)] = before
            values[right(k, buffer.dtype)] = expr
        return [
            Store(b, place, scalar.substitute(e, values))
            for b, e in zip(buffers, stage.combine.combine)
        ]

    def end(self, reduction: Reduction) -> list[Segment]:
        """Return what names a result without inner axes and stores those that are outputs."""
        segments: list[Segment] = []
        node = reduction.node
        if not reduction.kept:
            for value in node.outputs:
                variable = self.names.var(value.name or node.op.name, value.type.dtype)
                segments.append(Segment(let=(variable, self.finished(value, ()))))
                self.scalars[value] = variable
        for value in node.outputs:
            if value in self.group.outputs:
                segments.append(Segment(stmts=self.store_reduced(value)))
        return segments

    def store_reduced(self, value: Value) -> tuple[Stmt, ...]:
        """Return the loops that store a reduced output."""
        point = self.group.coordinates[value]
        axes = inner_axes(point, self.group.extents, self.outer)
        loops: list[Loop] = [(self.names.var(a.name), self.group.extents[a]) for a in axes]
        renamed: dict[Expr, Expr] = {a: v for a, (v, _) in zip(axes, loops)}
        ranges = {**self.ranges, **{v: self.ranges[a] for a, (v, _) in zip(axes, loops)}}
        target = offset(
            tuple(scalar.substitute(e, renamed) for e in point), self.strides_of(value), ranges
        )
        buffer = self.params[value]
        self.written.add(buffer.name)
        position = tuple(v for v, _ in loops)
        known = self.scalars.get(value)
        expr = self.finished(value, position) if known is None else known
        return nest(loops, [Store(buffer, (target,), expr)], {}, self.names)


def _row_buffer(name: str, dtype: scalar.DType, shape: Shape) -> Buffer:
    size: int | Dim = dtype.itemsize
    for extent in shape:
        size = extent * size
    small = isinstance(size, int) and size <= _LOCAL_BYTES
    return local(name, dtype, shape) if small else scratch(name, dtype, shape)


def _as_var(expr: Expr) -> Var:
    assert isinstance(expr, Var), "axes are renamed to axes"
    return expr


def _all_variables(point: Point) -> frozenset[Var]:
    return frozenset(v for e in point for v in scalar.variables(e))


def _fits_row(extents: Shape) -> bool:
    count = _elements(extents)
    return isinstance(count, int) and count <= _ROW_ELEMENTS


def _elements(extents: Shape) -> int | Dim:
    total: int | Dim = 1
    for extent in extents:
        total = extent * total
    return total


def symbols_of(region: Graph) -> frozenset[str]:
    """Return the names of the sizes that a group depends on."""
    found: set[str] = set()
    for value in region.values():
        for extent in value.type.shape:
            found |= dims.symbols(extent)
    for node in region.nodes:
        if node.op.name == "dim_value":
            found |= dims.symbols(node.attrs.dim)
    return frozenset(found)
