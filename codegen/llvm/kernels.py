"""Emit a kernel of loop IR as an internal function.

void <name>(context, one pointer a parameter…, one i64 a size…, scratch of worker 0)
"""

from __future__ import annotations

from dataclasses import dataclass

from smelt.codegen.llvm.outline import SCRATCH
from smelt.codegen.llvm.scope import Frame, Memory, Scope, Usage
from smelt.codegen.llvm.statements import FAIL, emit_body
from smelt.codegen.llvm.values import Operand, Value
from smelt.codegen.llvm.writer import Module, Writer
from smelt.ir.abi import Context, Error
from smelt.ir.loop.grammar import Check, Kernel, walk


@dataclass(frozen=True)
class Emitted:
    """A kernel in LLVM IR.

    Attributes:
        symbol: name of the kernel's function.
        functions: its functions, the kernel's own last.
        scratch_bytes: scratch memory that each worker needs.
        checked: whether it can report a data error.
    """

    symbol: str
    functions: tuple[str, ...]
    scratch_bytes: int
    checked: bool


def emit_kernel(module: Module, kernel: Kernel) -> Emitted:
    """Return a kernel's functions; what they share with other kernels goes to `module`.

    Args:
        module: takes internal functions (vector maths) and declarations of intrinsics.
        kernel: what is emitted.
    """
    before = len(module.functions)
    w = Writer(module, contract=not kernel.precise, reassociate=not kernel.precise)
    w.reserve("context", "scratch")
    name = module.symbol(kernel.name)
    checked = any(isinstance(stmt, Check) for stmt in walk(kernel.body))
    frame = Frame(
        w=w, name=name, worker_scratch=SCRATCH, checked=checked, outlines=True, usage=Usage()
    )
    pointers = {b: Memory(Value(f"%{w.name(b.name)}", "ptr")) for b in kernel.params}
    sizes: dict[str, Operand] = {s: Value(f"%{w.name(s)}", "i64") for s in kernel.sizes}
    emit_body(frame, Scope(variables=sizes, memory=pointers), kernel.body)
    w.line("ret void")
    parameters = ["ptr %context"]
    for buffer in kernel.params:
        facts = "ptr noalias" if buffer.name in kernel.written else "ptr noalias readonly"
        parameters.append(f"{facts} {pointers[buffer].pointer.text}")
    parameters += [w.value(size).typed for size in sizes.values()]
    parameters.append("ptr noalias align 64 %scratch")
    head = [f"; {kernel.origin}"] if kernel.origin else []
    head.append(f"define internal void @{name}({', '.join(parameters)}) noinline #0 {{")
    own = "\n".join([*head, "entry:", *w.entry, *w.lines, "}"])
    outlined = module.functions[before:]
    library = [f for f in outlined if "@smelt." in f.split("(", 1)[0]]
    functions = [f for f in outlined if f not in library]
    module.functions[before:] = library
    return Emitted(name, (*functions, own), frame.usage.scratch_bytes, checked)


def fail_function() -> str:
    """Return the function that records a data error unless there is one already."""
    fields = {name: Error[name].value for name in ("CODE", "VALUE", "LIMIT")}
    lines = [
        f"define internal void @{FAIL}(ptr %context, i64 %code, i64 %value, i64 %limit) "
        "noinline cold #0 {",
        "entry:",
        f"  %place = getelementptr i64, ptr %context, i64 {Context.ERROR.value}",
        "  %error = load ptr, ptr %place, align 8",
        f"  %state = getelementptr i64, ptr %error, i64 {Error.STATE.value}",
        "  %claim = cmpxchg ptr %state, i64 0, i64 1 acq_rel monotonic, align 8",
        "  %claimed = extractvalue { i64, i1 } %claim, 1",
        "  br i1 %claimed, label %first, label %done",
        "first:",
    ]
    for name, number in fields.items():
        lower = name.lower()
        lines.append(f"  %at.{lower} = getelementptr i64, ptr %error, i64 {number}")
        lines.append(f"  store i64 %{lower}, ptr %at.{lower}, align 8")
    return "\n".join([*lines, "  br label %done", "done:", "  ret void", "}"])
