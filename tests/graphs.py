"""What several test files do with graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.builder import GraphBuilder
from smelt.ir.graph import Graph
from smelt.ir.op import OpDef, Sample
from smelt.ir.text import parse
from smelt.ir.types import TensorType


def sample_graph(op: OpDef, sample: Sample) -> Graph:
    """Return the graph of one node that applies `op` as the sample does."""
    builder = GraphBuilder(op.name)
    inputs = [builder.input(type_of(a)) for a in sample.operands]
    regions = tuple(parse(text) for text in sample.regions)
    return builder.finish(builder.node(op, inputs, op.attrs(**sample.attrs), regions))


def type_of(array: Any) -> TensorType:
    found = np.asarray(array)
    return TensorType(dtypes.of_numpy(found.dtype), found.shape)


def same_bits(a: Any, b: Any) -> bool:
    """Tell whether two arrays agree in dtype, shape and every bit, but for the bits of NaNs."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    nan = (a != a) & (b != b)
    return bool(np.all(nan | (_bits(a) == _bits(b))))


def _bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    width = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
    flat = np.ascontiguousarray(array).reshape(-1)
    if array.dtype.itemsize == 16:
        return flat.view(np.complex128).reshape(array.shape)
    return flat.view(width[array.dtype.itemsize]).reshape(array.shape)
