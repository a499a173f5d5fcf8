"""What the parser says about text that is not IR, and where."""

from __future__ import annotations

import pytest
from smelt.ir.errors import ParseError
from smelt.ir.text import parse


def body(line: str) -> str:
    return f"graph g(%x: f32[2,3], %i: i64[]) {{\n  {line}\n  return %1\n}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: expected 'graph'; found the end of the text"),
        ("grpah g() {}", "1:1: expected 'graph'; found 'grpah'"),
        ("graph () {}", "1:7: expected a name; found '('"),
        ("graph g(x: f32[]) {", "1:9: expected a value such as %x; found 'x'"),
        ("graph g(%x f32[]) {", "1:12: expected ':'; found 'f32'"),
        ("graph g(%x: float[]) {", "1:13: expected a dtype such as f32; found 'float'"),
        ("graph g(%x: f32[2 3]) {", "1:19: expected ',' or ']'; found '3'"),
        ("graph g(%x: f32[2.5]) {", "1:18: expected IR text; found '.'"),
        ("graph g(%x: f32[)", "1:17: expected a size; found ')'"),
        ("graph g(%x: f32[(n // 0)]) {", "1:23: expected a divisor that is not 0; found '0'"),
        ("graph g(%x: f32[(n * 2]) {", "1:23: expected '//', '%' or ')'; found ']'"),
        ("graph g(%x: f32[] %y: f32[]) {", "1:19: expected ',' or ')'; found '%y'"),
        ("graph g(%x: f32[], %x: f32[]) {", "1:20: %x is defined twice"),
        ("graph g() {\n  neg()\n}", "2:3: expected a node, or 'return'; found 'neg'"),
        ("graph g() {\n  return\n} graph", "3:3: expected the end of the text; found 'graph'"),
        ("graph g() {\n  return", "2:9: expected a value such as %x; found the end of the text"),
        ("graph g() {\n  return %x\n}", "2:10: expected a value defined above; found '%x'"),
        (body("%1: f32[2,3] = negate(%x)"), "2:18: expected the name of an op; found 'negate'"),
        (body("%1: f32[2,3] = neg(%y)"), "2:22: expected a value defined above; found '%y'"),
        (body("%1: f32[2,3] = neg(%1)"), "2:22: expected a value defined above; found '%1'"),
        (body("%x: f32[2,3] = neg(%x)"), "2:3: %x is defined twice"),
        (body("%1: f32[2,3] neg(%x)"), "2:16: expected ',' or '='; found 'neg'"),
        (body("%1: f32[3,2] = permute(%x)"), "2:18: expected the attributes dims of permute"),
        (
            body("%1: f32[3,2] = permute(%x) {axes=(1, 0)}"),
            "2:31: expected an attribute of permute (dims); found 'axes'",
        ),
        (
            body("%1: f32[2,3] = neg(%x) {dims=1}"),
            "2:27: expected an attribute of neg (no more); found 'dims'",
        ),
        (
            body("%1: f32[3,2] = permute(%x) {dims=(1, 0), dims=()}"),
            "2:44: expected an attribute of permute (no more); found 'dims'",
        ),
        (
            body("%1: f32[3,2] = permute(%x) {dims=}"),
            "2:36: expected the value of an attribute; found '}'",
        ),
        (
            body("%1: f32[3,2] = permute(%x) {dims=(1 0)}"),
            "2:39: expected ',' or ')'; found '0'",
        ),
        (
            body("%1: f32[2] = constant() {value=f32[2](0x1p+0)}"),
            "2:34: expected 2 elements of f32[2]; found 1",
        ),
        (
            body("%1: f32[1] = constant() {value=f32[1](1)}"),
            "2:41: expected a hexadecimal float, 'inf' or 'nan'; found '1'",
        ),
        (
            body("%1: i8[1] = constant() {value=i8[1](200)}"),
            "2:39: expected a value of i8; found 200",
        ),
        (
            body("%1: bool[1] = constant() {value=bool[1](1)}"),
            "2:43: expected 'true' or 'false'; found '1'",
        ),
        (
            body("%1: f32[n] = constant() {value=f32[n](0x1p+0)}"),
            "2:34: expected a constant of known size; found f32[n]",
        ),
        (
            body("%1: f32[1] = constant() {value=f32[1]}"),
            "2:40: expected '(' or a digest; found '}'",
        ),
        (
            body("%1: f32[1] = constant() {value=f32[1](bits(0x100000000))}"),
            "2:46: expected at most 32 bits; found '0x100000000'",
        ),
    ],
)
def test_invalid_text(text: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert str(caught.value) == message
    line, column = message.split(":")[:2]
    assert (caught.value.line, caught.value.column) == (int(line), int(column))


def test_a_region_does_not_see_the_values_around_it() -> None:
    text = """graph g(%p: bool[], %x: f32[]) {
  %2: f32[] = cond(%p, %x)
    graph then(%y: f32[]) {
      return %x
    }"""
    with pytest.raises(ParseError, match=r"^4:14: expected a value defined above; found '%x'"):
        parse(text)
