"""Write LLVM IR as text: a module, its functions, the instructions in them.

Text is parsed once a program, which is several times faster than building the same module through
objects. Every method that gives a `Value` writes the instructions that compute it; operands of
different lane counts are brought to the greater one first, and constants are folded where it keeps
the text small.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from smelt.codegen.llvm.values import (
    FALSE,
    TRUE,
    Operand,
    Value,
    bits_of,
    float_constant,
    integer_constant,
    is_float,
    mangled,
    vector_type,
)
from smelt.codegen.target import Target
from smelt.ir.abi import DERIVE, ENTRY

# Dots are left to the numbers that make a name unique.
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_]")


@dataclass
class Module:
    """The text of a module as it grows.

    Attributes:
        target: the machine that it is for.
        functions: definitions, in order.
        declarations: intrinsics in use, by name.
        library: names of internal functions that were written already (vector maths and such).
    """

    target: Target
    functions: list[str] = field(default_factory=list)
    declarations: dict[str, str] = field(default_factory=dict)
    library: set[str] = field(default_factory=set)
    symbols: set[str] = field(default_factory=lambda: {ENTRY, DERIVE})

    def symbol(self, name: str) -> str:
        """Return a name for a function, `name` itself if it may be one and is free."""
        # "smelt." begins the names of the library's functions alone.
        name = f"_{name}" if name.startswith("smelt.") else name
        wanted = found = re.sub(r"[^A-Za-z0-9_.]", "_", name)
        number = 0
        while found in self.symbols:
            number += 1
            found = f"{wanted}_{number}"
        self.symbols.add(found)
        return found

    def text(self) -> str:
        """Return the module."""
        bits = self.target.vector_bits
        attributes = (
            f'attributes #0 = {{ nounwind "no-builtins" "prefer-vector-width"="{bits}" '
            f'"min-legal-vector-width"="{bits}" "no-trapping-math"="true" }}'
        )
        parts = [f'target triple = "{self.target.triple}"', *self.functions]
        parts += [self.declarations[name] for name in sorted(self.declarations)]
        return "\n\n".join([*parts, attributes]) + "\n"

    def define(self, name: str, write: Callable[[], str]) -> None:
        """Add the internal function that `write` gives unless there is one of that name."""
        if name not in self.library:
            self.library.add(name)
            self.functions.append(write())


class Writer:
    """The instructions of one function.

    Attributes:
        module: what the function belongs to.
        contract: whether accumulating a product may become one fused operation.
        reassociate: whether a reduction over lanes may take any order.
        lines: the instructions so far.
    """

    def __init__(
        self, module: Module, *, contract: bool = False, reassociate: bool = False
    ) -> None:
        self.module = module
        self.contract = contract
        self.reassociate = reassociate
        self.lines: list[str] = []
        self.entry: list[str] = []
        self._nowhere: Value | None = None
        self._names: set[str] = {"entry"}
        self._counts: dict[str, int] = {}

    # Names, lines and blocks

    def name(self, hint: str) -> str:
        """Return a fresh name that begins with `hint`."""
        hint = _UNNAMEABLE.sub("_", hint)
        count = self._counts.get(hint, 0)
        found = hint
        while found in self._names:
            count += 1
            found = f"{hint}.{count}"
        self._counts[hint] = count
        self._names.add(found)
        return found

    def reserve(self, *names: str) -> None:
        """Keep names that the function's text uses already from being given again."""
        self._names.update(names)

    def line(self, text: str) -> None:
        """Write an instruction that gives no value."""
        self.lines.append(f"  {text}")

    def comment(self, text: str) -> None:
        """Write a line for readers."""
        self.lines.extend(f"  ; {part}" for part in text.splitlines())

    def emit(self, instruction: str, element: str, lanes: int = 0, hint: str = "v") -> Value:
        """Write an instruction and return its value."""
        result = f"%{self.name(hint)}"
        self.lines.append(f"  {result} = {instruction}")
        return Value(result, element, lanes)

    def label(self, name: str) -> None:
        """Begin the block `name`."""
        self.lines.append(f"{name}:")

    def jump(self, label: str) -> None:
        """End the block by going to `label`."""
        self.line(f"br label %{label}")

    def branch(self, condition: Value, yes: str, no: str) -> None:
        """End the block by going to `yes` where the scalar `condition` holds, else to `no`."""
        self.line(f"br {condition.typed}, label %{yes}, label %{no}")

    def stack(self, size: int, hint: str) -> Value:
        """Return a pointer to `size` bytes of this call's stack, 64-byte aligned."""
        result = f"%{self.name(hint)}"
        self.entry.append(f"  {result} = alloca [{size} x i8], align 64")
        return Value(result, "ptr")

    def nowhere(self) -> Value:
        """Return the address of eight bytes that an access goes to when no lane wants it."""
        if self._nowhere is None:
            self._nowhere = self.stack(64, "nowhere")
            self.entry.append(f"  store i64 0, {self._nowhere.typed}, align 64")
        return self._nowhere

    # Lanes

    def value(self, operand: Operand) -> Value:
        """Return `operand` as a value, computing a `Linear` one."""
        if isinstance(operand, Value):
            return operand
        steps = ", ".join(f"i64 {lane * operand.stride}" for lane in range(operand.lanes))
        ramp = Value(f"<{steps}>", "i64", operand.lanes)
        if operand.base.known == 0:
            return ramp
        base = self.spread(operand.base, operand.lanes)
        return self.emit(f"add {base.typed}, {ramp.text}", "i64", operand.lanes, "lane")

    def spread(self, operand: Operand, lanes: int) -> Value:
        """Return `operand` with `lanes` lanes: repeated if it is scalar or has fewer.

        A value of fewer lanes is one of an outer vector loop, whose lane l holds for all of the
        lanes l * r … l * r + r - 1 of the inner one.
        """
        value = self.value(operand)
        if value.lanes == lanes:
            return value
        wide = vector_type(value.element, lanes)
        if not value.lanes:
            if not value.text.startswith("%"):
                return Value(f"splat ({value.typed})", value.element, lanes)
            single = vector_type(value.element, lanes)
            first = self.emit(
                f"insertelement {single} poison, {value.typed}, i64 0", value.element, lanes, "one"
            )
            zeros = f"<{lanes} x i32> zeroinitializer"
            return self.emit(
                f"shufflevector {first.typed}, {wide} poison, {zeros}", value.element, lanes, "all"
            )
        assert lanes % value.lanes == 0, f"{value.lanes} lanes do not spread to {lanes}"
        repeat = lanes // value.lanes
        return self.shuffle(value, [lane // repeat for lane in range(lanes)])

    def shuffle(self, value: Value, order: list[int]) -> Value:
        """Return the vector whose lane l is lane `order[l]` of `value`; -1 leaves it undefined."""
        mask = ", ".join("i32 poison" if i < 0 else f"i32 {i}" for i in order)
        return self.emit(
            f"shufflevector {value.typed}, {value.type} poison, <{len(order)} x i32> <{mask}>",
            value.element,
            len(order),
            "shuffled",
        )

    def lane(self, value: Value, index: int | Value) -> Value:
        """Return one lane of a vector as a scalar; a scalar is itself."""
        if not value.lanes:
            return value
        where = index.typed if isinstance(index, Value) else f"i64 {index}"
        return self.emit(f"extractelement {value.typed}, {where}", value.element, 0, "lane")

    def matched(self, *operands: Operand) -> tuple[Value, ...]:
        """Return the operands with one number of lanes."""
        lanes = max(o.lanes for o in operands)
        return tuple(self.spread(o, lanes) for o in operands)

    # Instructions

    def binary(self, instruction: str, a: Operand, b: Operand, hint: str = "v") -> Value:
        """Write `instruction a, b`, whose result has the operands' type."""
        x, y = self.matched(a, b)
        return self.emit(f"{instruction} {x.typed}, {y.text}", x.element, x.lanes, hint)

    def compare(self, predicate: str, a: Operand, b: Operand) -> Value:
        """Write `icmp` or `fcmp` with a predicate, such as `slt` or `olt`."""
        x, y = self.matched(a, b)
        kind = "fcmp" if is_float(x.element) else "icmp"
        return self.emit(f"{kind} {predicate} {x.typed}, {y.text}", "i1", x.lanes, "is")

    def select(self, condition: Value, yes: Operand, no: Operand) -> Value:
        """Return `yes` where `condition` holds, else `no`; both are computed."""
        if condition.text == "true":
            return self.value(yes)
        if condition.text == "false":
            return self.value(no)
        lanes = max(condition.lanes, yes.lanes, no.lanes)
        x, y = self.spread(yes, lanes), self.spread(no, lanes)
        if condition.lanes:
            condition = self.spread(condition, lanes)
        return self.emit(
            f"select {condition.typed}, {x.typed}, {y.typed}", x.element, lanes, "chosen"
        )

    def convert(self, instruction: str, a: Operand, element: str) -> Value:
        """Write a conversion instruction such as `sext`, `fptrunc` or `bitcast`."""
        x = self.value(a)
        if x.element == element:
            return x
        to = vector_type(element, x.lanes)
        return self.emit(f"{instruction} {x.typed} to {to}", element, x.lanes, "cast")

    def resize(self, a: Operand, element: str, *, signed: bool) -> Value:
        """Return an integer in another width."""
        x = self.value(a)
        known, wanted = bits_of(x.element), bits_of(element)
        if x.known is not None and signed:
            return integer_constant(x.known, element)
        widen = "sext" if signed else "zext"
        return self.convert(widen if wanted > known else "trunc", x, element)

    def intrinsic(self, name: str, *operands: Operand, flags: str = "") -> Value:
        """Call `llvm.<name>` overloaded on the type of the operands, which is the result's."""
        values = self.matched(*operands)
        first = values[0]
        full = f"llvm.{name}.{mangled(first.element, first.lanes)}"
        return self.call(full, first.element, first.lanes, values, flags)

    def call(
        self, name: str, element: str, lanes: int, operands: tuple[Value, ...], flags: str = ""
    ) -> Value:
        """Call a function; an intrinsic is declared on the way."""
        result = vector_type(element, lanes)
        if name.startswith("llvm."):
            types = ", ".join(o.type for o in operands)
            self.module.declarations.setdefault(name, f"declare {result} @{name}({types})")
        arguments = ", ".join(o.typed for o in operands)
        prefix = f"call {flags} " if flags else "call "
        return self.emit(
            f"{prefix}{result} @{name}({arguments})", element, lanes, name.split(".")[1]
        )

    def perform(self, name: str, *operands: Value) -> None:
        """Call an intrinsic that gives no value."""
        types = ", ".join(o.type for o in operands)
        self.module.declarations.setdefault(name, f"declare void @{name}({types})")
        self.line(f"call void @{name}({', '.join(o.typed for o in operands)})")

    # Floating point: no operation is contracted here, only an Accumulate that adds a product, so
    # that elementwise arithmetic rounds as NumPy's does. Random numbers rely on it.

    def fadd(self, a: Operand, b: Operand) -> Value:
        """Return a + b."""
        return self.binary("fadd", a, b, "sum")

    def fsub(self, a: Operand, b: Operand) -> Value:
        """Return a - b."""
        return self.binary("fsub", a, b, "difference")

    def fmul(self, a: Operand, b: Operand) -> Value:
        """Return a * b."""
        return self.binary("fmul", a, b, "product")

    def fdiv(self, a: Operand, b: Operand) -> Value:
        """Return a / b."""
        return self.binary("fdiv", a, b, "quotient")

    # Integers and booleans

    def number(self, value: float, like: Value) -> Value:
        """Return a scalar constant of the element type of `like`."""
        if is_float(like.element):
            return float_constant(value, like.element)
        return integer_constant(int(value), like.element)

    def both(self, a: Value | None, b: Value | None) -> Value | None:
        """Return the conjunction of two masks, where None is always true."""
        if a is None or a.text == "true":
            return b
        if b is None or b.text == "true":
            return a
        return self.binary("and", a, b, "mask")

    def negation(self, a: Value) -> Value:
        """Return the complement of a bool."""
        if a.text in ("true", "false"):
            return FALSE if a.text == "true" else TRUE
        return self.binary("xor", a, TRUE, "not")

    def any_lane(self, mask: Value) -> Value:
        """Return the scalar bool that tells whether a lane of `mask` holds."""
        if not mask.lanes:
            return mask
        name = f"llvm.vector.reduce.or.{mangled('i1', mask.lanes)}"
        return self.call(name, "i1", 0, (mask,))

    # Pointers

    def offset(self, pointer: Value, element: str, index: Value, *, inbounds: bool = True) -> Value:
        """Return the address of element number `index`, a scalar, from `pointer`."""
        if index.known == 0:
            return pointer
        flag = "inbounds " if inbounds else ""
        return self.emit(
            f"getelementptr {flag}{element}, {pointer.typed}, {index.typed}", "ptr", 0, "at"
        )

    def field(self, pointer: Value, number: int, element: str, hint: str) -> Value:
        """Return eight-byte field `number` of a record, loaded as `element`."""
        place = self.offset(pointer, "i64", integer_constant(number))
        return self.emit(f"load {element}, {place.typed}, align 8", element, 0, hint)
