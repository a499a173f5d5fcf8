"""Schedules of learning rates, with PyTorch's names and trajectories.

A schedule changes numbers in an optimiser's groups. Those are inputs of a compiled step, so no
schedule causes a recompile.
"""

from smelt.optim.lr_scheduler.base import LRScheduler
from smelt.optim.lr_scheduler.cycles import CosineAnnealingLR, OneCycleLR
from smelt.optim.lr_scheduler.factors import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    StepLR,
)
from smelt.optim.lr_scheduler.plateau import ReduceLROnPlateau
from smelt.optim.lr_scheduler.sequence import SequentialLR

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
