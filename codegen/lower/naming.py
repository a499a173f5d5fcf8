"""Name kernels after the ops that are fused into them."""

from __future__ import annotations

from smelt.ir.graph import Graph
from smelt.ir.primitive import definition
from smelt.ir.structured import is_movement

_LONGEST = 48
_SILENT = frozenset({"full", "constant", "dim_value", "cast"})


def kernel_name(region: Graph) -> str:
    """Return the ops of a group in order, without views and repetitions: `add_gelu_sum`."""
    ops: dict[str, None] = {}
    for node in region.nodes:
        if node.op.name not in _SILENT and not is_movement(definition(node)):
            ops[node.op.name] = None
    if not ops:
        ops = dict.fromkeys(n.op.name for n in region.nodes)
    name = "_".join(ops)
    if len(name) <= _LONGEST:
        return name
    kept: list[str] = []
    for op in ops:
        if len("_".join((*kept, op))) > _LONGEST:
            break
        kept.append(op)
    return "_".join(kept)
