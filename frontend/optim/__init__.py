"""Optimisers, with PyTorch's names and trajectories; each parameter's update is one op.

`Optimizer` is what optimisers share; `lr_scheduler` changes their rates.
"""

from smelt.optim import lr_scheduler
from smelt.optim.adam import Adam, AdamW
from smelt.optim.optimizer import Optimizer
from smelt.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]
