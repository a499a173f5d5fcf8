"""Choose the shape of a contraction's register tile and of its cache blocks."""

from __future__ import annotations

from dataclasses import dataclass

from smelt.codegen.schedule.reduce import LIMIT
from smelt.codegen.target import Target
from smelt.ir.dtypes import DType

_DEPTH = 1024
_MOST_ROWS = 24
_MOST_VECTORS = 8


@dataclass(frozen=True, slots=True)
class TileShape:
    """Sizes of the blocks of a contraction, in elements.

    Attributes:
        rows: rows of the register tile.
        vectors: vectors in a row of the register tile.
        lanes: elements in a vector.
        depth: summands in a packed panel.
        row_block: rows of a packed block of the first factor, a multiple of `rows`.
        row_share: rows of one task, a multiple of `row_block`.
        column_share: columns of one task, a multiple of the tile's.
        fold: additions that an accumulator takes in a row.
    """

    rows: int
    vectors: int
    lanes: int
    depth: int
    row_block: int
    row_share: int
    column_share: int
    fold: int = LIMIT

    @property
    def columns(self) -> int:
        """Columns of the register tile."""
        return self.vectors * self.lanes


def tile_shape(
    m: int, n: int, k: int | None, batch: int, dtype: DType, target: Target, workers: int
) -> TileShape:
    """Return block sizes for a product of m × k by k × n.

    Args:
        m: rows, or a guess.
        n: columns, or a guess.
        k: summands; None where not constant.
        batch: number of products, or a guess.
        dtype: type of the accumulators.
        target: the machine.
        workers: number of workers that share the work.
    """
    lanes = target.lanes(dtype)
    # LLVM keeps what surrounds the tile's loop in a few of many registers: better not to the last.
    most = target.vector_registers - (4 if target.vector_registers >= 32 else 0)
    vectors = max(1, min(2, -(-n // lanes)))
    limit = min(_MOST_ROWS, (most - 1 - vectors) // vectors)
    rows = _even(max(m, 1), limit)
    # With few rows there are registers left for longer ones.
    while vectors < min(_MOST_VECTORS, -(-n // lanes)) and (rows + 1) * (vectors + 1) + 1 <= most:
        vectors += 1
    columns = vectors * lanes
    depth = k if k is not None and 0 < k <= _DEPTH else min(LIMIT, k or LIMIT)
    if k is not None and k > _DEPTH:
        depth = _even(k, LIMIT)
    row_tiles, column_tiles = max(1, -(-m // rows)), max(1, -(-n // columns))
    # The second factor's panel may lie in the third level, and so may sums of several panels.
    memory = 4 * target.l2_bytes // dtype.itemsize
    column_parts = _parts(column_tiles, memory // (depth * columns))
    row_parts = 1
    if depth != k:
        row_parts = _parts(row_tiles, memory // (rows * columns * -(-column_tiles // column_parts)))
    while workers > 1 and batch * column_parts * row_parts < workers:
        # Halves of the longer side that is not one tile yet: square shares pack least.
        is_wide = column_tiles * columns // column_parts >= row_tiles * rows // row_parts
        if column_parts < column_tiles and (is_wide or row_parts >= row_tiles):
            column_parts = min(2 * column_parts, column_tiles)
        elif row_parts < row_tiles:
            row_parts = min(2 * row_parts, row_tiles)
        else:
            break
    share = -(-row_tiles // row_parts)
    # A block of the first factor takes half of the second-level cache.
    blocks = _parts(share, target.l2_bytes // 2 // (depth * dtype.itemsize * rows))
    row_block = rows * -(-share // blocks)
    return TileShape(
        rows=rows,
        vectors=vectors,
        lanes=lanes,
        depth=depth,
        row_block=row_block,
        row_share=row_block * blocks,
        column_share=columns * -(-column_tiles // column_parts),
    )


def _parts(total: int, most: int) -> int:
    """Return into how many parts of at most `most` (at least 1) `total` is cut."""
    return -(-total // max(1, most))


def _even(total: int, limit: int) -> int:
    """Return the size of the equal parts, none above `limit`, that waste least of `total`."""
    parts = -(-total // limit)
    return -(-total // parts)
