"""The file beside a text that holds its large constants: a NumPy `.npz`, arrays by digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.attributes import items
from smelt.ir.constant import ConstantValue
from smelt.ir.graph import Graph


def constants(graph: Graph) -> dict[str, ConstantValue]:
    """Return the constants of `graph` and of the graphs inside it, by digest."""
    return {
        value.digest: value
        for node in graph.walk()
        for _, value in items(node.attrs)
        if isinstance(value, ConstantValue)
    }


def save_constants(graph: Graph, path: str | Path) -> None:
    """Write the constants of `graph` to `path`."""
    arrays = {digest: _storable(value.array) for digest, value in constants(graph).items()}
    with open(path, "wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def load_constants(path: str | Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return what `save_constants` wrote, for `parse`, which knows the dtypes from the text."""
    with np.load(path, allow_pickle=False) as file:
        return {digest: file[digest] for digest in file.files}


def _storable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the array; a bfloat16 one, which the file format does not know, as its bits."""
    return array.view(np.uint16) if array.dtype == dtypes.bfloat16.numpy else array
