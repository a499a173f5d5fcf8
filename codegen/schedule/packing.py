"""Copy the factors of a contraction into panels in the order in which the register tiles read them.

    rows[tile, r, p]            a row's summands next to each other, or
    rows[tile, p, r]            a summand's rows next to each other, as memory has them
    columns[tile, p, c]         a summand's columns next to each other

Either factor is read across its rows or columns, or along its summands, as memory has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from smelt.codegen.schedule.factor import Factor
from smelt.codegen.schedule.product import (
    Axis,
    Contraction,
    Point,
    Position,
    Reading,
    columns_reading,
    extent,
    flattened,
    guess,
    rows_reading,
    unflattened,
)
from smelt.codegen.schedule.rewrite import Body
from smelt.codegen.schedule.tile_shape import TileShape
from smelt.ir import scalar
from smelt.ir.loop.builder import (
    Names,
    below,
    divided,
    divided_up,
    for_nest,
    loop,
    plus,
    scratch,
    times,
)
from smelt.ir.loop.builder import guarded as under
from smelt.ir.loop.grammar import Buffer, If, Kind, Stmt, Store
from smelt.ir.scalar import Expr, Var
from smelt.ir.structured import monoid
from smelt.ir.types import Shape


@dataclass(frozen=True)
class Panel:
    """Which summands are packed together.

    Attributes:
        begin: the first.
        depth: how many there are.
    """

    begin: Expr
    depth: Expr


@dataclass(frozen=True)
class _Runs:
    """Loops over the summands of a panel, in vectors or one by one.

    Attributes:
        loops: variables and extents, outermost first.
        place: number of the summand in the panel.
        at: what the axes of the summands are.
    """

    loops: list[tuple[Var, Expr]]
    place: Expr
    at: dict[Expr, Expr]


@dataclass(frozen=True)
class _Lines:
    """The rows, or the columns, of a contraction and how they are packed.

    Attributes:
        reading: what is read, and how.
        axes: the group of axes that tells the lines apart.
        tile: number of lines in a register tile.
        width: number of lines that there is room for, a multiple of the lanes.
        place: where an element is packed, given tile, line and summand.
        is_whole: whether the lines fill their tiles for certain.
    """

    reading: Reading
    axes: tuple[Axis, ...]
    tile: int
    width: int
    place: Callable[[Expr, Expr, Expr], Position]
    is_whole: bool


@dataclass(frozen=True)
class Packer:
    """Writes the loops that pack the factors of one contraction.

    Attributes:
        contraction: the contraction.
        shape: sizes of its blocks.
        names: supply of names of the kernel.
    """

    contraction: Contraction
    shape: TileShape
    names: Names

    @cached_property
    def rows_reading(self) -> Reading:
        """How rows are read, and so how they lie."""
        return rows_reading(self.contraction, self.shape.lanes)

    def rows_shape(self, tiles: int) -> Shape:
        """Return the extents of a number of tiles of packed rows."""
        shape = self.shape
        if self.rows_reading.across:
            return (tiles, shape.depth, _rounded(shape.rows, shape.lanes))
        # The padding keeps rows of one tile out of each other's cache sets.
        return (tiles, shape.rows, _rounded(shape.depth, shape.lanes) + shape.lanes)

    def columns_shape(self, tiles: int) -> Shape:
        """Return the extents of a number of tiles of packed columns."""
        return (tiles, self.shape.depth, self.shape.columns)

    def rows_buffer(self) -> Buffer:
        """Return memory for a block of packed rows."""
        sizes = self.rows_shape(self.shape.row_block // self.shape.rows)
        return scratch(self.names.fresh("rows"), self.contraction.accumulator, sizes)

    def columns_buffer(self) -> Buffer:
        """Return memory for the packed columns of a task."""
        sizes = self.columns_shape(self.shape.column_share // self.shape.columns)
        return scratch(self.names.fresh("columns"), self.contraction.accumulator, sizes)

    def row_place(self, tile: Expr, row: Expr, summand: Expr) -> Position:
        """Return where a row's factor is packed."""
        return (tile, summand, row) if self.rows_reading.across else (tile, row, summand)

    def rows(
        self, buffer: Buffer, first: Expr, count: Expr, panel: Panel, lead: Position = ()
    ) -> Body:
        """Return loops that pack `count` rows of the first factor from `first` on.

        Args:
            buffer: takes them.
            first: first row.
            count: number of rows.
            panel: summands.
            lead: indices that come before those of `row_place`.
        """
        width = _rounded(self.shape.rows, self.shape.lanes)
        lines = _Lines(
            self.rows_reading,
            self.contraction.m,
            self.shape.rows,
            width,
            lambda t, r, p: (*lead, *self.row_place(t, r, p)),
            False,
        )
        return self._packed(buffer, lines, first, count, panel)

    def columns(
        self, buffer: Buffer, first: Expr, count: Expr, panel: Panel, lead: Position = ()
    ) -> Body:
        """Return loops that pack `count` columns of the second factor from `first` on."""
        c, width = self.contraction, self.shape.columns
        size = extent(c.n)
        is_whole = isinstance(size, int) and size % width == 0
        reading = columns_reading(c, self.shape.lanes)
        lines = _Lines(reading, c.n, width, width, lambda t, j, p: (*lead, t, p, j), is_whole)
        return self._packed(buffer, lines, first, count, panel)

    def _packed(
        self, buffer: Buffer, lines: _Lines, first: Expr, count: Expr, panel: Panel
    ) -> Body:
        pack = self._across if lines.reading.across else self._along
        return pack(buffer, lines, first, count, panel)

    def _along(self, buffer: Buffer, lines: _Lines, first: Expr, count: Expr, panel: Panel) -> Body:
        """Return loops over lines, each of them read along its summands."""
        tile, line = self.names.var("tile"), self.names.var("r")
        offset = plus(times(tile, lines.tile), line)
        here = unflattened(plus(first, offset), lines.axes)

        def vectors(factor: Factor, lanes: int) -> Body:
            lane = self.names.var("l")
            runs = self._runs(panel, lanes, lane)
            place = lines.place(tile, line, runs.place)
            stored = self._stored(buffer, place, factor, {**here, **runs.at})
            stored = under(below(runs.place, panel.depth), stored)
            return for_nest(runs.loops, [loop(lane, lanes, stored, Kind.VECTOR)])

        body = vectors(lines.reading.factor, lines.reading.packing.lanes)
        if not lines.is_whole:
            body = (If(below(offset, count), body, vectors(self._blank, self.shape.lanes)),)
        return for_nest([(tile, divided_up(count, lines.tile)), (line, lines.tile)], body)

    def _across(
        self, buffer: Buffer, lines: _Lines, first: Expr, count: Expr, panel: Panel
    ) -> Body:
        """Return loops over the summands, each of them read across its lines."""
        lanes = lines.reading.packing.lanes
        tile, v, lane = (self.names.var(h) for h in ("tile", "v", "l"))
        inside = plus(times(v, lanes), lane)
        offset = plus(times(tile, lines.tile), inside)
        here = unflattened(plus(first, offset), lines.axes)

        def summands(factor: Factor) -> Body:
            runs = self._summands(panel, is_guarded=factor.inside is not None)
            place = lines.place(tile, inside, runs.place)
            return for_nest(runs.loops, self._stored(buffer, place, factor, {**here, **runs.at}))

        body = summands(lines.reading.factor)
        if not lines.is_whole:
            body = (If(below(offset, count), body, summands(self._blank)),)
        vector = loop(lane, lanes, body, Kind.VECTOR)
        return for_nest(
            [(tile, divided_up(count, lines.tile)), (v, lines.width // lanes)], [vector]
        )

    @property
    def _blank(self) -> Factor:
        """The padding of tiles."""
        return Factor(monoid("add", self.contraction.accumulator).identity[0])

    def _stored(self, buffer: Buffer, place: Position, factor: Factor, at: Point) -> Body:
        """Return statements that store a factor, at a point of its axes."""

        def store(value: Expr) -> Stmt:
            here = scalar.substitute(value, at)
            return Store(buffer, place, scalar.cast(here, self.contraction.accumulator))

        if factor.inside is None or factor.outside is None:
            return (store(factor.value),)
        inside = scalar.substitute(factor.inside, at)
        return (If(inside, (store(factor.value),), (store(factor.outside),)),)

    # --- loops over summands ------------------------------------------------------------------

    @cached_property
    def _inner(self) -> int | None:
        """Points of all axes of summands but the first; None where no panel holds whole runs."""
        inner = extent(self.contraction.k[1:])
        if isinstance(inner, int) and inner > 0 and self.shape.depth % inner == 0:
            return inner
        return None

    def _summands(self, panel: Panel, is_guarded: bool) -> _Runs:
        """Return loops over the summands of a panel, one by one.

        For a guarded factor the first axis, on which guards seldom depend, comes innermost.
        """
        axes, inner = self.contraction.k, self._inner
        if inner is None:
            p = self.names.var("p")
            return _Runs([(p, panel.depth)], p, unflattened(plus(panel.begin, p), axes))
        variables = [self.names.var(var.name) for var, _ in axes]
        loops = [(v, scalar.of_dim(size)) for v, (_, size) in zip(variables[1:], axes[1:])]
        first = (variables[0], divided(panel.depth, inner))
        loops.insert(len(loops) if is_guarded else 0, first)
        at: dict[Expr, Expr] = {old: new for (old, _), new in zip(axes, variables)}
        at[axes[0][0]] = plus(divided(panel.begin, inner), variables[0])
        return _Runs(loops, flattened(variables, axes), at)

    def _runs(self, panel: Panel, lanes: int, lane: Var) -> _Runs:
        """Return loops over vectors of the summands of a panel.

        Where vectors fill the innermost axes evenly, the outer ones have loops of their own.
        """
        axes, inner = self.contraction.k, self._inner
        v = self.names.var("v")
        inside = plus(times(v, lanes), lane)
        first = len(axes) - 1
        while first > 0 and guess(extent(axes[first:])) % lanes:
            first -= 1
        if first == 0 or inner is None:
            at = unflattened(plus(panel.begin, inside), axes)
            return _Runs([(v, divided_up(panel.depth, lanes))], inside, at)
        run = guess(extent(axes[first:]))
        outer = axes[:first]
        variables = [self.names.var(var.name) for var, _ in outer]
        loops = [(w, scalar.of_dim(size)) for w, (_, size) in zip(variables, outer)]
        loops[0] = (variables[0], divided(panel.depth, inner))
        loops.append((v, scalar.integer(run // lanes)))
        at = unflattened(inside, axes[first:])
        at |= {old: new for (old, _), new in zip(outer, variables)}
        at[axes[0][0]] = plus(divided(panel.begin, inner), variables[0])
        return _Runs(loops, plus(times(flattened(variables, outer), run), inside), at)


def _rounded(count: int, step: int) -> int:
    """Return the least multiple of `step` that is not below `count`."""
    return -(-count // step) * step
