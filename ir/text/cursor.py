"""A position in a list of tokens, with what parsing needs to say what it expected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from smelt.ir.errors import ParseError
from smelt.ir.text.lexer import Token, describe, tokenize

_CLASSES = frozenset({"value", "digest", "float", "bits", "int", "word", "string", "end"})


class Cursor:
    """The tokens of a text, and how far they have been read.

    Attributes:
        constants: arrays of large constants by digest.
    """

    def __init__(self, text: str, constants: Mapping[str, Any]) -> None:
        self.constants = constants
        self._tokens = tokenize(text)
        self._next = 0

    @property
    def peek(self) -> Token:
        """The token that comes next."""
        return self._tokens[self._next]

    @property
    def ahead(self) -> Token:
        """The token after the one that comes next."""
        return self._tokens[min(self._next + 1, len(self._tokens) - 1)]

    def rest(self) -> Iterator[Token]:
        """Yield what comes next, without reading it."""
        return (self._tokens[k] for k in range(self._next, len(self._tokens)))

    @property
    def last(self) -> Token:
        """The token that was read last."""
        return self._tokens[self._next - 1]

    def advance(self) -> Token:
        """Read a token; the end is read again and again."""
        token = self.peek
        if token.kind != "end":
            self._next += 1
        return token

    def accept(self, wanted: str) -> bool:
        """Read the next token if it is the mark or word `wanted`; tell whether it was."""
        if self.peek.kind in ("mark", "word") and self.peek.text == wanted:
            self._next += 1
            return True
        return False

    def expect(self, wanted: str, description: str = "") -> Token:
        """Read a token of the kind, or the mark or word, that is wanted.

        Raises:
            ParseError: something else comes next.
        """
        token = self.peek
        fits = token.kind == wanted if wanted in _CLASSES else token.text == wanted
        if not fits or (token.kind == "string" and wanted != "string"):
            raise self.error(description or describe(wanted))
        return self.advance()

    def error(self, expected: str) -> ParseError:
        """Return the error that the next token is not what was `expected`."""
        token = self.peek
        return ParseError(f"expected {expected}; found {token}", token.line, token.column)
