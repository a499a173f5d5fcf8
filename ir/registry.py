"""The op registry: every op there is, from an explicit list of families."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from smelt.ir.op import OpDef
from smelt.ir.ops import (
    activations,
    adaptive_pooling,
    average_pooling,
    batch_normalisation,
    class_losses,
    composites,
    contraction,
    control,
    conversion,
    convolution,
    creation,
    diagonals,
    elementwise,
    indexing,
    joining,
    losses,
    max_pooling,
    movement,
    nn,
    normalisation,
    optimiser,
    philox,
    random,
    reduction,
    scan,
    scattering,
    slicing,
    sorting,
    statistics,
    strided,
    structural,
    unary,
    windows,
)

_FAMILIES: tuple[tuple[OpDef, ...], ...] = (
    structural.OPS,
    elementwise.OPS,
    conversion.OPS,
    unary.OPS,
    composites.OPS,
    activations.OPS,
    movement.OPS,
    slicing.OPS,
    joining.OPS,
    windows.OPS,
    diagonals.OPS,
    strided.OPS,
    reduction.OPS,
    statistics.OPS,
    contraction.OPS,
    convolution.OPS,
    max_pooling.OPS,
    average_pooling.OPS,
    adaptive_pooling.OPS,
    indexing.OPS,
    scattering.OPS,
    scan.OPS,
    sorting.OPS,
    creation.OPS,
    philox.OPS,
    random.OPS,
    control.OPS,
    nn.OPS,
    normalisation.OPS,
    batch_normalisation.OPS,
    class_losses.OPS,
    losses.OPS,
    optimiser.OPS,
)


def _build() -> Mapping[str, OpDef]:
    ops: dict[str, OpDef] = {}
    for family in _FAMILIES:
        for op in family:
            assert op.name not in ops, f"two ops are called {op.name}"
            ops[op.name] = op
    return MappingProxyType(ops)


OPS: Mapping[str, OpDef] = _build()
