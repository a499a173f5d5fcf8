"""The errors that smelt raises, at every level.

An error that PyTorch reports as a built-in exception is a subclass of that one as well, so that the
`except` clauses of ported code hold.
"""

from __future__ import annotations


class SmeltError(Exception):
    """Base of every error that smelt raises on purpose."""


class InternalError(SmeltError):
    """An invariant of smelt's own does not hold; the message names what to send."""


class TypeInferenceError(SmeltError, RuntimeError):
    """Operands or attributes of an op do not fit together."""


class DTypeError(TypeInferenceError, TypeError):
    """An operand has a dtype that the op does not take."""


class DimensionError(TypeInferenceError, IndexError):
    """A dimension number is outside the rank of the operand."""


class ArgumentError(TypeInferenceError, ValueError):
    """An attribute has a value outside its domain."""


class IndexRangeError(SmeltError, IndexError, RuntimeError):
    """An index read from data is outside the dimension that it indexes.

    PyTorch reports some of these as an IndexError (indexing, embedding), others as a RuntimeError
    (gather, one_hot).
    """


class IntegerDivisionError(SmeltError, ZeroDivisionError, RuntimeError):
    """An integer was divided by zero."""


class DifferentiationError(SmeltError, RuntimeError):
    """A gradient is asked for through an op that has none; the message says why."""


class VerifyError(SmeltError):
    """A graph or a loop program breaks a rule of its IR."""


class ParseError(SmeltError, ValueError):
    """Text is not IR; carries the position of the offending token.

    Attributes:
        line: line number, from 1.
        column: column number, from 1.
    """

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"{line}:{column}: {message}")
        self.line = line
        self.column = column


class TraceError(SmeltError, RuntimeError):
    """Capture cannot record what the user's code does; names the line and the remedy."""


class LoweringError(SmeltError):
    """A graph has no loop program yet."""


class UndecidedDimError(SmeltError):
    """A question about a symbolic dimension has no answer that holds for all its values."""
