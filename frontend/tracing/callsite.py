"""Where in the user's code an operation comes from, and which numbers stand there as literals."""

from __future__ import annotations

import math
import os
import sys
from types import CodeType, FrameType

from smelt.ir.graph import Location


def user_frame() -> FrameType | None:
    """Return the innermost frame that runs code outside smelt."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module != "smelt" and not module.startswith("smelt."):
            return frame
        frame = frame.f_back
    return None


def location() -> Location | None:
    """Return the user's line that is being run."""
    frame = user_frame()
    if frame is None:
        return None
    return Location(os.path.basename(frame.f_code.co_filename), frame.f_lineno)


def is_literal(value: bool | int | float) -> bool:
    """Tell whether `value` stands as a constant in the code that the user is running.

    A number that does is part of the key of the compiled program; any other is an input. Either
    is right: a literal that is none costs a compilation when it changes, never a wrong result.
    """
    frame = user_frame()
    return frame is not None and _has_constant(frame.f_code, value)


def _has_constant(code: CodeType, value: bool | int | float) -> bool:
    kind = type(value)
    for constant in code.co_consts:
        if type(constant) is kind and constant == value:
            return kind is not float or math.copysign(1.0, constant) == math.copysign(1.0, value)
    # Small integers are not kept among the constants by newer interpreters.
    return kind is bool or (kind is int and 0 <= value <= 255 and sys.version_info >= (3, 14))
