"""Limits of dtypes, as `finfo` and `iinfo` give them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from smelt.ir import dtypes
from smelt.ir.dtypes import DType, Kind
from smelt.state import settings


class finfo:
    """Limits of a floating dtype: bits, eps, max, min, tiny, smallest_normal, resolution."""

    def __init__(self, type: DType | None = None) -> None:
        dtype = settings.default_dtype if type is None else type
        if dtype.kind is not Kind.FLOAT:
            raise TypeError(f"finfo() needs a floating dtype, not {dtype!r}: use iinfo()")
        found = ml_dtypes.finfo(dtype.numpy) if dtype is dtypes.bfloat16 else np.finfo(dtype.numpy)
        self.bits = dtype.bits
        self.dtype = dtype.torch_name
        self.eps = float(found.eps)
        self.max = float(found.max)
        self.min = float(found.min)
        self.tiny = float(found.tiny)
        self.smallest_normal = float(found.tiny)
        self.resolution = float(found.resolution)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, "
            f"dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype: bits, max, min."""

    def __init__(self, type: DType) -> None:
        if not type.is_integer:
            raise TypeError(f"iinfo() needs an integer dtype, not {type!r}: use finfo()")
        self.bits = type.bits
        self.dtype = type.torch_name
        self.max = 2 ** (type.bits - type.is_signed) - 1
        self.min = -(2 ** (type.bits - 1)) if type.is_signed else 0

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
