"""What holds for the thread that runs: the tracer, the grad mode; and for all: the default dtype.

Threads do not trace each other's operations, nor do they turn off each other's gradients.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from smelt.ir import dtypes
from smelt.ir.dtypes import DType

if TYPE_CHECKING:
    from smelt.dispatch import Tracer


class ThreadState(threading.local):
    """The modes of one thread.

    Attributes:
        tracer: what records operations, or None where they run at once.
        grad: whether operations on tensors that require grad are taped.
        inference: whether results are inference tensors, which no tape may hold.
    """

    tracer: Tracer | None = None
    grad: bool = True
    inference: bool = False


class Settings:
    """The settings of the process.

    Attributes:
        default_dtype: dtype of Python floats and of creation without a dtype.
        epoch: a number that every setter of smelt's own (modes, modules, optimisers) raises.
    """

    default_dtype: DType = dtypes.float32
    epoch: int = 0


mode = ThreadState()
settings = Settings()


def get_default_dtype() -> DType:
    """Return the dtype that Python floats and new tensors get."""
    return settings.default_dtype


def set_default_dtype(dtype: DType) -> None:
    """Set the dtype that Python floats and new tensors get; it must be a floating dtype."""
    if not dtype.is_floating_point:
        raise TypeError(f"the default dtype must be a floating one, not {dtype!r}")
    settings.default_dtype = dtype
    settings.epoch += 1
