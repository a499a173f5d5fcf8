"""The normalisation ops."""

from __future__ import annotations

from smelt.ir.op import OpDef

OPS: tuple[OpDef, ...] = ()
