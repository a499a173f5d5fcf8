"""Tokens of IR text, with their positions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smelt.ir.errors import ParseError

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<comment>\#[^\n]*)
  | (?P<value>%(?:"(?:[^"\\\n]|\\.)*"|[A-Za-z0-9_.]+)(?:@[0-9]+)?)
  | (?P<digest>@[0-9a-f]{32}\b)
  | (?P<float>0x[0-9a-f]+(?:\.[0-9a-f]+)?p[+-]?[0-9]+)
  | (?P<bits>0x[0-9a-f]+)
  | (?P<int>[0-9]+)
  | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<mark>//|[()\[\]{}:,=+*%-])
    """,
    re.VERBOSE,
)

_KINDS = {
    "value": "a value such as %x",
    "digest": "a digest",
    "float": "a hexadecimal float",
    "bits": "hexadecimal bits",
    "int": "an integer",
    "word": "a name",
    "string": "a string",
    "end": "the end of the text",
}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text.

    Attributes:
        kind: name of its alternative in the grammar of tokens, or `end`.
        text: as written.
        line: from 1.
        column: from 1.
        comment: the comment after it on its line, without the mark and outer spaces.
    """

    kind: str
    text: str
    line: int
    column: int
    comment: str | None = None

    def __str__(self) -> str:
        return "the end of the text" if self.kind == "end" else repr(self.text)


def describe(kind: str) -> str:
    """Return what messages call a kind of token, or a mark or word that is expected."""
    return _KINDS.get(kind, repr(kind))


def tokenize(text: str) -> list[Token]:
    """Return the tokens of `text`, an `end` token last.

    Raises:
        ParseError: a character begins no token.
    """
    tokens: list[Token] = []
    line, start, position = 1, 0, 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise ParseError(
                f"expected IR text; found {text[position]!r}", line, position - start + 1
            )
        kind, piece = str(found.lastgroup), found.group()
        if kind == "comment":
            if tokens and tokens[-1].line == line:
                last = tokens[-1]
                tokens[-1] = Token(last.kind, last.text, line, last.column, piece[1:].strip())
        elif kind != "space":
            tokens.append(Token(kind, piece, line, position - start + 1))
        newlines = piece.count("\n")
        if newlines:
            line += newlines
            start = position + piece.rindex("\n") + 1
        position = found.end()
    tokens.append(Token("end", "", line, position - start + 1))
    return tokens
