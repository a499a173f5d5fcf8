"""The template of contractions: sums of products over packed, register-tiled panels.

    contract(Contraction(...), target, names) -> Contracted

A matrix product, a convolution and its gradients are one thing here: groups of axes (batch, rows m,
columns n, summands k), two expressions for the factors, and a hole for what becomes of each sum.

    for task in parallel(…):                     shares of the batch, the columns and the rows
        for p in …:                              panels of summands
            columns ← the second factor          packed: [column tile][summand][column]
            for each block of rows:
                rows ← the first factor          packed: [row tile][row][summand]
                for each column tile, row tile:
                    sums += rows * columns       in registers: rows × vectors × lanes
                    epilogue                     here, if there is one panel; else at the end

A frozen factor (weights that seldom change) is not packed here: `Contracted.kept` holds statements
that pack all of it, to be run once for many calls, and the tiles read it from there.

What is packed is converted to the accumulator's type and padded with zeros to whole tiles, so that
only the epilogue knows of edges. No accumulator takes more than `fold` additions in a row.
(K. Goto, R. van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from smelt.codegen.schedule.keep import Kept, kept_columns, kept_rows, packable_ahead
from smelt.codegen.schedule.packing import Packer, Panel
from smelt.codegen.schedule.product import (
    Contraction,
    Position,
    axis_ranges,
    extent,
    guess,
    oriented,
    unflattened,
)
from smelt.codegen.schedule.reduce import blocked
from smelt.codegen.schedule.rewrite import Body, simplified
from smelt.codegen.schedule.tile_shape import TileShape, tile_shape
from smelt.codegen.target import Target
from smelt.ir import scalar
from smelt.ir.loop.builder import (
    Names,
    allocated,
    below,
    divided_up,
    for_nest,
    guarded,
    lesser,
    load,
    local,
    loop,
    minus,
    plus,
    scratch,
    times,
)
from smelt.ir.loop.grammar import Accumulate, Buffer, If, Kind, Let, Stmt, Store
from smelt.ir.scalar import Const, Expr, Var
from smelt.ir.structured import monoid

_PRODUCTS_WORTH = 1_000_000
"""Products from which a contraction is given to several workers: about 20 µs."""

_NONE = scalar.integer(0)


@dataclass(frozen=True)
class Contracted:
    """Statements that compute a contraction.

    Attributes:
        body: the statements; they stand at the top of a kernel's body.
        kept: factors that they read as packed ahead.
    """

    body: Body
    kept: tuple[Kept, ...] = ()


def contract(
    contraction: Contraction, target: Target, names: Names, shape: TileShape | None = None
) -> Contracted:
    """Return statements that compute a contraction.

    Args:
        contraction: what to compute.
        target: the machine.
        names: supply of names of the kernel.
        shape: sizes of blocks; None: chosen for the machine.
    """
    template = _Template(contraction, target, names, shape)
    body = template.statements()
    return Contracted(body, tuple(k for k in template.kept if k is not None) if body else ())


class _Template:
    """One contraction on its way into loops."""

    def __init__(
        self, contraction: Contraction, target: Target, names: Names, shape: TileShape | None
    ) -> None:
        lanes = target.lanes(contraction.accumulator) if shape is None else shape.lanes
        self.c = contraction = oriented(packable_ahead(contraction), lanes)
        self.names = names
        self.sizes = tuple(extent(g) for g in (self.c.batch, self.c.m, self.c.n, self.c.k))
        batch, m, n, k = (guess(s) for s in self.sizes)
        self.is_parallel = batch * m * n * k >= _PRODUCTS_WORTH and target.threads > 1
        workers = target.threads if self.is_parallel else 1
        depth = self.sizes[3] if isinstance(self.sizes[3], int) else None
        if shape is None:
            shape = tile_shape(m, n, depth, batch, self.c.accumulator, target, workers)
        self.shape = shape
        self.m, self.n, self.k = (scalar.of_dim(s) for s in self.sizes[1:])
        self.ranges = axis_ranges(contraction)
        # All summands in one panel: each sum is finished in registers.
        self.is_single = depth is not None and depth <= shape.depth
        if not self.is_single:
            self.shape = replace(shape, depth=min(shape.depth, shape.fold))
        self.zero = monoid("add", self.c.accumulator).identity[0]
        self.packer = Packer(contraction, self.shape, names)
        is_empty = 0 in self.sizes
        self.kept = (
            kept_rows(self.packer, target, names) if self.c.left_frozen and not is_empty else None,
            kept_columns(self.packer, target, names)
            if self.c.right_frozen and not is_empty
            else None,
        )

    def statements(self) -> tuple[Stmt, ...]:
        """Return the whole nest."""
        if 0 in self.sizes[:3]:
            return ()
        if self.sizes[3] == 0:
            axes = (*self.c.batch, *self.c.m, *self.c.n)
            return for_nest(axes, self.c.epilogue({v: v for v, _ in axes}, self.zero))
        shape = self.shape
        column_tasks = divided_up(self.n, shape.column_share)
        row_tasks = divided_up(self.m, shape.row_share)
        task, column, row = (self.names.var(h) for h in ("task", "column_share", "row_share"))
        body = self.task(column, row)
        lets = {
            row: scalar.apply("mod", task, row_tasks),
            column: scalar.apply("mod", scalar.apply("floordiv", task, row_tasks), column_tasks),
        }
        rest = scalar.apply("floordiv", task, times(row_tasks, column_tasks))
        count = times(scalar.of_dim(self.sizes[0]), times(row_tasks, column_tasks))
        for var, value in (*lets.items(), *unflattened(rest, self.c.batch).items()):
            assert isinstance(var, Var), "axes are variables"
            body = (Let(var, value, body),)
        kind = Kind.PARALLEL if self.is_parallel else Kind.SERIAL
        return simplified((loop(task, count, body, kind, comment=self.title()),), self.ranges)

    def title(self) -> str:
        """Return a line for readers."""
        m, n, k = self.sizes[1:]
        return f"product {m} x {k} by {k} x {n}, tile {self.shape.rows} x {self.shape.columns}"

    def task(self, column: Expr, row: Expr) -> Body:
        """Return what one task does with its share of rows and columns, given their numbers."""
        shape, dtype = self.shape, self.c.accumulator
        first_column, first_row = times(column, shape.column_share), times(row, shape.row_share)
        columns_left = self.names.var("column_count")
        rows_left = self.names.var("row_count")
        rows_kept, columns_kept = self.kept
        buffers: list[Buffer] = []
        sums = None
        if not self.is_single:
            sums = scratch(self.names.fresh("sums"), dtype, (shape.row_share, shape.column_share))
        panel, block = self.names.var("panel"), self.names.var("row_block")
        begin = scalar.integer(0) if self.is_single else times(panel, shape.depth)
        count = lesser(shape.depth, minus(self.k, begin))
        panel_here = Panel(begin, count)
        block_begin = times(block, shape.row_block)
        block_rows = self.names.var("block_count")
        pack_rows: Body = ()
        pack_columns: Body = ()
        if columns_kept is None:
            right = _Panels(self.packer.columns_buffer())
            buffers.append(right.buffer)
            pack_columns = self.packer.columns(right.buffer, first_column, columns_left, panel_here)
        else:
            right = _ahead(columns_kept, times(column, shape.column_share // shape.columns), begin)
        if rows_kept is None:
            left = _Panels(self.packer.rows_buffer())
            buffers.append(left.buffer)
            begin_row = plus(first_row, block_begin)
            pack_rows = self.packer.rows(left.buffer, begin_row, block_rows, panel_here)
        else:
            row_tile = plus(
                times(row, shape.row_share // shape.rows),
                times(block, shape.row_block // shape.rows),
            )
            left = _ahead(rows_kept, row_tile, begin)
        inner = [
            *pack_rows,
            *self.tiles(
                _Block(left, right, sums, first_row, first_column, block_begin, count),
                block_rows,
                columns_left,
            ),
        ]
        body: list[Stmt] = [
            *pack_columns,
            loop(
                block,
                divided_up(rows_left, shape.row_block),
                [
                    Let(
                        block_rows,
                        lesser(shape.row_block, minus(rows_left, block_begin)),
                        tuple(inner),
                    )
                ],
            ),
        ]
        if sums is None:
            return self.counted(
                columns_left, rows_left, first_column, first_row, allocated(buffers, body)
            )
        i, v, lane = (self.names.var(h) for h in ("i", "v", "l"))
        vectors = divided_up(columns_left, shape.lanes)
        cleared = Store(sums, (i, plus(times(v, shape.lanes), lane)), self.zero)
        clear = for_nest([(i, rows_left), (v, vectors)], [
            loop(lane, shape.lanes, [cleared], Kind.VECTOR)
        ])  # fmt: skip
        panels = loop(panel, divided_up(self.k, shape.depth), body)
        if isinstance(panels.stop, Const):
            # Very long sums need one more level.
            loops = blocked([panels], tuple(body), self.names)
        else:
            loops = (panels,)
        done = self.finish(sums, (first_row, first_column), rows_left, columns_left)
        found = allocated([sums, *buffers], [*clear, *loops, *done])
        return self.counted(columns_left, rows_left, first_column, first_row, found)

    def counted(
        self, columns: Var, rows: Var, first_column: Expr, first_row: Expr, body: Body
    ) -> Body:
        """Return what a task does, with the numbers of its columns and rows bound."""
        share = self.shape
        inner = Let(rows, lesser(share.row_share, minus(self.m, first_row)), body)
        return (Let(columns, lesser(share.column_share, minus(self.n, first_column)), (inner,)),)

    def columns_divide(self, count: int) -> bool:
        """Tell whether the number of columns is a known multiple of `count`."""
        return isinstance(self.sizes[2], int) and self.sizes[2] % count == 0

    # --- tiles --------------------------------------------------------------------------------

    def tiles(self, block: _Block, rows: Expr, columns: Expr) -> Body:
        """Return the loops over register tiles."""
        shape = self.shape
        j, i = self.names.var("column_tile"), self.names.var("row_tile")
        if block.sums is not None:
            body = self.into_sums(block, i, j)
        else:
            body = self.into_epilogue(block, i, j, rows, columns)
        row_tiles = loop(i, divided_up(rows, shape.rows), body)
        return (loop(j, divided_up(columns, shape.columns), [row_tiles]),)

    def products(
        self, block: _Block, i: Var, j: Var, acc: Buffer, begin: Expr, count: Expr
    ) -> Body:
        """Return the innermost loops: clear the accumulators and sum `count` products in each."""
        shape = self.shape
        p = self.names.var("p")
        at = plus(begin, p)

        def term(r: Var, v: Var, lane: Var) -> Stmt:
            left, right = block.left, block.right
            a_place = self.packer.row_place(plus(left.tile, i), r, plus(left.summand, at))
            a = load(left.buffer, *left.lead, *a_place)
            b_place = (plus(right.tile, j), plus(right.summand, at))
            b = load(right.buffer, *right.lead, *b_place, plus(times(v, shape.lanes), lane))
            return Accumulate(acc, (r, v, lane), "add", scalar.apply("mul", a, b))

        clear = self.over_tile(lambda r, v, lane: Store(acc, (r, v, lane), self.zero))
        return (*clear, loop(p, count, self.over_tile(term)))

    def over_tile(self, make: Callable[[Var, Var, Var], Stmt]) -> Body:
        """Return unrolled loops over the elements of a register tile."""
        r, v, lane = (self.names.var(h) for h in ("r", "v", "l"))
        vector = loop(lane, self.shape.lanes, [make(r, v, lane)], Kind.VECTOR)
        return for_nest([(r, self.shape.rows), (v, self.shape.vectors)], [vector], Kind.UNROLL)

    def accumulators(self) -> Buffer:
        """Return a fresh buffer that lies in registers."""
        shape = self.shape
        size = (shape.rows, shape.vectors, shape.lanes)
        return local(self.names.fresh("acc"), self.c.accumulator, size)

    def into_sums(self, block: _Block, i: Var, j: Var) -> Body:
        """Return a tile that is added to the sums of the panels before."""
        shape = self.shape
        assert block.sums is not None, "there are several panels"
        sums = block.sums
        acc = self.accumulators()
        row = plus(block.begin, times(i, shape.rows))
        column = times(j, shape.columns)

        def add(r: Var, v: Var, lane: Var) -> Stmt:
            place = (plus(row, r), plus(column, plus(times(v, shape.lanes), lane)))
            return Accumulate(sums, place, "add", load(acc, r, v, lane))

        summed = self.products(block, i, j, acc, scalar.integer(0), block.count)
        return allocated([acc], [*summed, *self.over_tile(add)])

    def into_epilogue(self, block: _Block, i: Var, j: Var, rows: Expr, columns: Expr) -> Body:
        """Return a tile whose sums are finished at once."""
        shape = self.shape
        acc = self.accumulators()
        tile = local(self.names.fresh("tile"), self.c.accumulator, (shape.rows, shape.columns))

        def place(r: Var, v: Var, lane: Var) -> tuple[Expr, ...]:
            return (r, plus(times(v, shape.lanes), lane))

        def keep(r: Var, v: Var, lane: Var) -> Stmt:
            return Store(tile, place(r, v, lane), load(acc, r, v, lane))

        def add(r: Var, v: Var, lane: Var) -> Stmt:
            return Accumulate(tile, place(r, v, lane), "add", load(acc, r, v, lane))

        stmts: list[Stmt] = []
        assert isinstance(self.sizes[3], int), "the number of summands is constant"
        for begin in range(0, self.sizes[3], shape.fold):
            count = min(shape.fold, self.sizes[3] - begin)
            stmts += self.products(block, i, j, acc, scalar.integer(begin), scalar.integer(count))
            stmts += self.over_tile(add if begin else keep)
        row, column = times(i, shape.rows), times(j, shape.columns)
        stmts += self.finish(
            tile,
            (plus(plus(block.first_row, block.begin), row), plus(block.first_column, column)),
            lesser(shape.rows, minus(rows, row)),
            lesser(shape.columns, minus(columns, column)),
        )
        return allocated([acc, tile], stmts)

    def finish(
        self,
        sums: Buffer,
        first: tuple[Expr, Expr],
        rows: Expr,
        columns: Expr,
    ) -> Body:
        """Return the epilogue over sums that lie in a buffer.

        Args:
            sums: where they are, by row and column.
            first: row and column of the first one in the whole result.
            rows: number of rows.
            columns: number of columns.
        """
        shape = self.shape
        r, v = self.names.var("r"), self.names.var("v")
        begin = times(v, shape.lanes)

        def vector(condition: Expr | None) -> Stmt:
            lane = self.names.var("l")
            column = plus(begin, lane)
            place: dict[Expr, Expr] = {var: var for var, _ in self.c.batch}
            place |= unflattened(plus(first[0], r), self.c.m)
            place |= unflattened(plus(first[1], column), self.c.n)
            value = load(sums, r, column)
            body = self.c.epilogue(place, value)
            limit = None if condition is None else below(column, condition)
            return loop(lane, shape.lanes, guarded(limit, body), Kind.VECTOR)

        if self.columns_divide(shape.lanes):
            inner: Body = (vector(None),)
        else:
            is_whole = scalar.apply("le", plus(begin, shape.lanes), columns)
            inner = (If(is_whole, (vector(None),), (vector(columns),)),)
        vectors = loop(v, divided_up(columns, shape.lanes), inner)
        return (loop(r, rows, [vectors]),)


@dataclass(frozen=True)
class _Panels:
    """Packed rows or columns, and where in their buffer a block's begin.

    Attributes:
        buffer: where they lie.
        lead: indices before those of tile and summand.
        tile: the first tile.
        summand: the first summand.
    """

    buffer: Buffer
    lead: Position = ()
    tile: Expr = _NONE
    summand: Expr = _NONE


def _ahead(kept: Kept, tile: Expr, summand: Expr) -> _Panels:
    """Return the part of a factor packed ahead that begins at a tile and a summand."""
    return _Panels(kept.buffer, tuple(v for v, _ in kept.lead), tile, summand)


@dataclass(frozen=True)
class _Block:
    """A block of packed rows against the packed columns of a task.

    Attributes:
        left: packed rows.
        right: packed columns.
        sums: sums of the panels before, of all rows and columns of the task; None: one panel.
        first_row: the task's first row.
        first_column: its first column.
        begin: the block's first row in the task.
        count: number of summands in the panel.
    """

    left: _Panels
    right: _Panels
    sums: Buffer | None
    first_row: Expr
    first_column: Expr
    begin: Expr
    count: Expr
