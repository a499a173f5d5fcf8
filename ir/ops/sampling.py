"""Small arrays from which the samples of ops are made: deterministic, of every awkward kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.dtypes import DType, Kind

Array = np.ndarray[Any, Any]

SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, np.inf, -np.inf, np.nan)


def normal(*shape: int, dtype: DType = dtypes.float32, seed: int = 0) -> Array:
    """Return standard normal numbers; rounded multiples of them for integers, signs for bool."""
    drawn = np.random.default_rng(seed + 31 * len(shape)).standard_normal(shape)
    match dtype.kind:
        case Kind.BOOL:
            drawn = drawn > 0
        case Kind.UINT:
            drawn = np.abs(np.rint(4 * drawn))
        case Kind.INT:
            drawn = np.rint(4 * drawn)
        case _:
            pass
    return np.asarray(drawn).astype(dtype.numpy)


def uniform(
    low: float, high: float, *shape: int, dtype: DType = dtypes.float32, seed: int = 0
) -> Array:
    """Return numbers uniform in [low, high)."""
    drawn = np.random.default_rng(seed + 31 * len(shape)).uniform(low, high, shape)
    return np.asarray(drawn).astype(dtype.numpy)


def strided(array: Array) -> Array:
    """Return an equal array whose elements lie apart and in column order."""
    if array.ndim == 0:
        return array
    spread = np.zeros((*(2 * n for n in reversed(array.shape)),), array.dtype)
    view = spread[tuple(slice(None, None, 2) for _ in array.shape)].T
    view[...] = array
    return view


def special(dtype: DType = dtypes.float32) -> Array:
    """Return zeros of both signs, small numbers, infinities and NaN."""
    return np.array(SPECIAL).astype(dtype.numpy)


def special_pairs(dtype: DType = dtypes.float32) -> tuple[Array, Array]:
    """Return every pair of special values."""
    values = special(dtype)
    return np.repeat(values, len(values)), np.tile(values, len(values))
