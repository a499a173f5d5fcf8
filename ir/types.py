"""The type of a value in graph IR: element type and shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smelt.ir import dim as dims
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType

Shape = tuple[int | Dim, ...]


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type and shape of a value; graphs know no strides.

    Attributes:
        dtype: element type.
        shape: one int or `Dim` for each dimension.
    """

    dtype: DType
    shape: Shape

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int | Dim:
        """Number of elements."""
        total: int | Dim = 1
        for extent in self.shape:
            total = extent * total
        return total

    @property
    def nbytes(self) -> int | Dim:
        """Size of the row-major data in bytes."""
        return self.size * self.dtype.itemsize

    @property
    def is_static(self) -> bool:
        """Whether every dimension is a plain integer."""
        return dims.is_static(*self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape of a type whose dimensions are all plain integers."""
        sizes = tuple(d for d in self.shape if isinstance(d, int))
        assert len(sizes) == self.rank, f"{self} has symbolic dimensions"
        return sizes

    def with_shape(self, shape: Shape) -> TensorType:
        """Return the type of the same elements in another shape."""
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        """Return the type of the same shape with another element type."""
        return TensorType(dtype, self.shape)

    def substitute(self, values: Mapping[str, int | Dim]) -> TensorType:
        """Return the type with symbols replaced by their values."""
        return TensorType(self.dtype, tuple(dims.substitute(d, values) for d in self.shape))

    def __str__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"


def static_shape(shape: Shape) -> tuple[int, ...]:
    """Return a shape whose dimensions are all known, as arrays have it."""
    assert dims.is_static(*shape), f"{shape} is symbolic"
    return tuple(d for d in shape if isinstance(d, int))


def row_major_strides(shape: Shape) -> Shape:
    """Return the strides, in elements, of row-major storage of `shape`."""
    strides: list[int | Dim] = []
    step: int | Dim = 1
    for extent in reversed(shape):
        strides.append(step)
        step = step * (max(extent, 1) if isinstance(extent, int) else extent)
    return tuple(reversed(strides))
