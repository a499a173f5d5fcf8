"""Where the elements of a tensor lie in its storage.

Graphs know no strides; the frontend does. `OpDef.view` computes the layout of a view for eager
execution and for tracing alike, so that both agree on what is a view and what is a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

from smelt.ir.types import row_major_strides


@dataclass(frozen=True, slots=True)
class Layout:
    """Offset, sizes and strides of a tensor in its storage, all in elements.

    Attributes:
        offset: position of the first element.
        sizes: extent of each dimension.
        strides: step of each dimension; 0 for an expanded one; never negative.
    """

    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        total = 1
        for extent in self.sizes:
            total *= extent
        return total

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie row-major without gaps."""
        expected = 1
        for extent, stride in zip(reversed(self.sizes), reversed(self.strides)):
            if extent == 0:
                return True
            if extent != 1:
                if stride != expected:
                    return False
                expected *= extent
        return True

    @property
    def span(self) -> int:
        """Number of storage elements from the first to the last one used, inclusive."""
        if self.size == 0:
            return 0
        return 1 + sum((n - 1) * s for n, s in zip(self.sizes, self.strides))


def row_major(sizes: tuple[int, ...], offset: int = 0) -> Layout:
    """Return the layout of fresh storage of the given sizes."""
    strides = row_major_strides(sizes)
    return Layout(offset, tuple(sizes), strides)  # type: ignore[arg-type]
