"""From text to graph IR; the inverse of the printer.

    graph     = "graph" name "(" [value ":" type {"," value ":" type} [","]] ")"
                "{" {node} "return" [value {"," value}] "}"
    node      = results "=" op "(" [value {"," value}] ")" ["{" attributes "}"] {graph}
    results   = value ":" type {"," value ":" type} | "(" ")"
    type      = dtype "[" [dim {"," dim}] "]"
    attributes = name "=" attribute {"," name "=" attribute}

A comment of the form `# file:line` at the end of a node's line is its location; others are skipped.
The parser checks names and the form of attributes; whether types are right is the verifier's part.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from smelt.ir import registry
from smelt.ir.errors import ParseError
from smelt.ir.graph import Graph, Location, Node, Value
from smelt.ir.op import OpDef
from smelt.ir.text.cursor import Cursor
from smelt.ir.text.lexer import Token
from smelt.ir.text.values import parse_attribute, parse_type

_LOCATION = re.compile(r"(.+):([0-9]+)")
T = TypeVar("T")


def parse(text: str, constants: Mapping[str, Any] | None = None) -> Graph:
    """Return the graph that `text` describes.

    Args:
        text: what `str(graph)` gives, edited or not.
        constants: arrays of the large constants by their digest, as `load_constants` gives them.

    Raises:
        ParseError: the text is not IR; says where, what was expected and what was found.
    """
    cursor = Cursor(text, constants or {})
    graph = _graph(cursor)
    cursor.expect("end")
    return graph


def _graph(cursor: Cursor) -> Graph:
    cursor.expect("graph")
    name = _name(cursor)
    scope: dict[str, Value] = {}
    cursor.expect("(")
    inputs = _separated(cursor, ")", lambda: _definition(cursor, scope))
    cursor.expect("{")
    nodes: list[Node] = []
    while not cursor.accept("return"):
        if cursor.peek.kind != "value" and cursor.peek.text != "(":
            raise cursor.error("a node, or 'return'")
        nodes.append(_node(cursor, scope))
    outputs = _separated(cursor, "}", lambda: _use(cursor, scope))
    return Graph(name, inputs, tuple(nodes), outputs)


def _node(cursor: Cursor, scope: dict[str, Value]) -> Node:
    defined: dict[str, Value] = {}
    outputs: tuple[Value, ...] = ()
    if cursor.accept("("):
        cursor.expect(")")
        cursor.expect("=")
    else:
        outputs = _separated(cursor, "=", lambda: _definition(cursor, scope, defined))
    word = cursor.expect("word")
    op = registry.OPS.get(word.text)
    if op is None:
        raise ParseError(f"expected the name of an op; found {word}", word.line, word.column)
    cursor.expect("(")
    inputs = _separated(cursor, ")", lambda: _use(cursor, scope))
    attrs = _attributes(cursor, op, word)
    location = _location(cursor.last.comment)
    regions: list[Graph] = []
    while cursor.peek.text == "graph":
        regions.append(_graph(cursor))
    scope.update(defined)
    return Node(op, inputs, attrs, tuple(regions), outputs, location)


def _definition(
    cursor: Cursor, scope: dict[str, Value], defined: dict[str, Value] | None = None
) -> Value:
    """Read `%x: type` and add it to `defined` (by default the scope itself)."""
    into = scope if defined is None else defined
    token = cursor.expect("value")
    if token.text in scope or token.text in into:
        raise ParseError(f"{token.text} is defined twice", token.line, token.column)
    cursor.expect(":")
    value = Value(parse_type(cursor), _hint(token.text))
    into[token.text] = value
    return value


def _use(cursor: Cursor, scope: Mapping[str, Value]) -> Value:
    token = cursor.expect("value")
    value = scope.get(token.text)
    if value is None:
        raise ParseError(f"expected a value defined above; found {token}", token.line, token.column)
    return value


def _hint(text: str) -> str:
    """Return the name hint in `%x`, `%x@7`, `%"odd name"`; empty for `%7`."""
    if text.startswith('%"'):
        return json.loads(text[1 : text.rindex('"') + 1])
    name = text[1:].partition("@")[0]
    return "" if name.isdigit() else name


def _name(cursor: Cursor) -> str:
    token = cursor.advance()
    match token.kind:
        case "word":
            return token.text
        case "string":
            return json.loads(token.text)
        case _:
            raise ParseError(f"expected a name; found {token}", token.line, token.column)


def _attributes(cursor: Cursor, op: OpDef, word: Token) -> Any:
    names = [field.name for field in dataclasses.fields(op.attrs)]
    given: dict[str, Any] = {}

    def one() -> None:
        token = cursor.expect("word")
        if token.text not in names or token.text in given:
            missing = ", ".join(n for n in names if n not in given) or "no more"
            raise ParseError(
                f"expected an attribute of {op.name} ({missing}); found {token}",
                token.line,
                token.column,
            )
        cursor.expect("=")
        given[token.text] = parse_attribute(cursor)

    if cursor.accept("{"):
        _separated(cursor, "}", one)
    required = [
        field.name
        for field in dataclasses.fields(op.attrs)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in given]
    if missing:
        raise ParseError(
            f"expected the attributes {', '.join(missing)} of {op.name}", word.line, word.column
        )
    return op.attrs(**given)


def _location(comment: str | None) -> Location | None:
    found = _LOCATION.fullmatch(comment or "")
    return Location(found[1], int(found[2])) if found else None


def _separated(cursor: Cursor, end: str, item: Callable[[], T]) -> tuple[T, ...]:
    """Read items between commas up to and with the mark `end`; a comma may stand before it."""
    found: list[T] = []
    while not cursor.accept(end):
        if found:
            cursor.expect(",", f"',' or {end!r}")
            if cursor.accept(end):
                break
        found.append(item())
    return tuple(found)
