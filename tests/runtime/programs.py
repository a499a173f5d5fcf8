"""Small native programs, written as LLVM IR, for tests of the runtime."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.abi import NativeObject
from smelt.runtime import pool_ir
from smelt.runtime.executable import Executable
from smelt.runtime.signature import Signature, Slot

ATTRIBUTES = 'attributes #0 = { nounwind "no-builtins" }\n'

# Loads what the bodies below need from the context.
_TABLES = """
  %inputs.at = getelementptr i64, ptr %context, i64 1
  %inputs = load ptr, ptr %inputs.at
  %outputs.at = getelementptr i64, ptr %context, i64 2
  %outputs = load ptr, ptr %outputs.at
  %x = load ptr, ptr %inputs
  %y = load ptr, ptr %outputs
"""

# y[i] = 2 * x[i] + c[0], in parallel.
DOUBLE = f"""
define internal void @body(ptr %context, ptr %environment, i64 %begin, i64 %end, i64 %worker) #0 {{
entry:
{_TABLES}
  %constants.at = getelementptr i64, ptr %context, i64 3
  %constants = load ptr, ptr %constants.at
  %c = load ptr, ptr %constants
  %add = load float, ptr %c
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %from = getelementptr float, ptr %x, i64 %i
  %v = load float, ptr %from
  %w = fmul float %v, 2.0
  %z = fadd float %w, %add
  %to = getelementptr float, ptr %y, i64 %i
  store float %z, ptr %to
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}}
define i32 @run(ptr %context) #0 {{
  %sizes.at = getelementptr i64, ptr %context, i64 5
  %sizes = load ptr, ptr %sizes.at
  %n = load i64, ptr %sizes
  %table = load ptr, ptr %context
  %parallel = load ptr, ptr %table
  call void %parallel(ptr %context, ptr @body, ptr null, i64 0, i64 %n)
  ret i32 0
}}
{ATTRIBUTES}
"""

# y[i] += 1 and scratch of the worker is written; then y[i] of an inner parallel loop of 10.
NESTED = f"""
define internal void @inner(ptr %context, ptr %at, i64 %begin, i64 %end, i64 %worker) #0 {{
  %scratch.at = getelementptr i64, ptr %context, i64 7
  %scratch = load ptr, ptr %scratch.at
  %stride.at = getelementptr i64, ptr %context, i64 8
  %stride = load i64, ptr %stride.at
  %offset = mul i64 %stride, %worker
  %mine = getelementptr i8, ptr %scratch, i64 %offset
  store i64 %worker, ptr %mine
  %count = sub i64 %end, %begin
  %before = load i64, ptr %at
  %after = add i64 %before, %count
  store i64 %after, ptr %at
  ret void
}}
define internal void @body(ptr %context, ptr %environment, i64 %begin, i64 %end, i64 %worker) #0 {{
entry:
{_TABLES}
  %table = load ptr, ptr %context
  %parallel = load ptr, ptr %table
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %at = getelementptr i64, ptr %y, i64 %i
  %start = load i64, ptr %x
  store i64 %start, ptr %at
  call void %parallel(ptr %context, ptr @inner, ptr %at, i64 0, i64 10)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}}
define i32 @run(ptr %context) #0 {{
  %table = load ptr, ptr %context
  %parallel = load ptr, ptr %table
  call void %parallel(ptr %context, ptr @body, ptr null, i64 0, i64 1000)
  ret i32 0
}}
{ATTRIBUTES}
"""

# Reports code 1, value 7, limit 5 when x[0] is not 0; else y[0] = 1.
CHECKED = f"""
define i32 @run(ptr %context) #0 {{
{_TABLES}
  %v = load i64, ptr %x
  %good = icmp eq i64 %v, 0
  br i1 %good, label %fine, label %bad
fine:
  store i64 1, ptr %y
  ret i32 0
bad:
  %error.at = getelementptr i64, ptr %context, i64 6
  %error = load ptr, ptr %error.at
  %claimed = cmpxchg ptr %error, i64 0, i64 1 monotonic monotonic
  %code = getelementptr i64, ptr %error, i64 1
  store i64 1, ptr %code
  %value = getelementptr i64, ptr %error, i64 2
  store i64 %v, ptr %value
  %limit = getelementptr i64, ptr %error, i64 3
  store i64 5, ptr %limit
  ret i32 1
}}
{ATTRIBUTES}
"""

# Polls until interrupted, or until x[0] polls have been made.
ENDLESS = f"""
define i32 @run(ptr %context) #0 {{
entry:
{_TABLES}
  %table = load ptr, ptr %context
  %poll.at = getelementptr i64, ptr %table, i64 1
  %poll = load ptr, ptr %poll.at
  %limit = load i64, ptr %x
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %more ]
  %stop = call i32 %poll(ptr %context)
  %stopped = icmp ne i32 %stop, 0
  br i1 %stopped, label %interrupted, label %more
more:
  %next = add i64 %i, 1
  %again = icmp slt i64 %next, %limit
  br i1 %again, label %loop, label %done
done:
  store i64 %next, ptr %y
  ret i32 0
interrupted:
  ret i32 2
}}
{ATTRIBUTES}
"""

# Each of 64 iterations counts to x[0]; only the pool polls.
PARALLEL_ENDLESS = f"""
define internal void @body(ptr %context, ptr %environment, i64 %begin, i64 %end, i64 %worker) #0 {{
entry:
{_TABLES}
  %limit = load i64, ptr %x
  %count = sub i64 %end, %begin
  %total = mul i64 %limit, %count
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  call void asm sideeffect "", ""()
  %next = add i64 %i, 1
  %again = icmp slt i64 %next, %total
  br i1 %again, label %loop, label %done
done:
  ret void
}}
define i32 @run(ptr %context) #0 {{
{_TABLES}
  %table = load ptr, ptr %context
  %parallel = load ptr, ptr %table
  call void %parallel(ptr %context, ptr @body, ptr null, i64 0, i64 6400)
  %poll.at = getelementptr i64, ptr %table, i64 1
  %poll = load ptr, ptr %poll.at
  %stop = call i32 %poll(ptr %context)
  %status = shl i32 %stop, 1
  store i64 1, ptr %y
  ret i32 %status
}}
{ATTRIBUTES}
"""

# `derive` keeps 2 * x[i]; `run` gives y[i] = x[i] + what is kept, for four floats.
KEEPING = f"""
define i32 @derive(ptr %context) #0 {{
  %inputs.at = getelementptr i64, ptr %context, i64 1
  %inputs = load ptr, ptr %inputs.at
  %x = load ptr, ptr %inputs
  %kept.at = getelementptr i64, ptr %context, i64 10
  %kept = load ptr, ptr %kept.at
  %v = load <4 x float>, ptr %x, align 4
  %w = fadd <4 x float> %v, %v
  store <4 x float> %w, ptr %kept, align 4
  ret i32 0
}}
define i32 @run(ptr %context) #0 {{
{_TABLES}
  %kept.at = getelementptr i64, ptr %context, i64 10
  %kept = load ptr, ptr %kept.at
  %v = load <4 x float>, ptr %x, align 4
  %w = load <4 x float>, ptr %kept, align 4
  %z = fadd <4 x float> %v, %w
  store <4 x float> %z, ptr %y, align 4
  ret i32 0
}}
{ATTRIBUTES}
"""


@cache
def compile_ir(text: str, triple: str = "", options: str = "") -> bytes:
    """Compile LLVM IR to an object file as smelt's emitters do: position independent."""
    from llvmlite import binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    target = llvm.Target.from_triple(triple or llvm.get_default_triple())
    machine = target.create_target_machine(reloc="pic", codemodel="small", opt=2)
    return machine.emit_object(llvm.parse_assembly(text))


@cache
def support() -> bytes:
    from llvmlite import binding as llvm

    return compile_ir(pool_ir.text(llvm.get_default_triple()))


def slot(dtype: Any, *shape: Any) -> Slot:
    strides: list[Any] = []
    step: Any = 1
    for extent in reversed(shape):
        strides.insert(0, step)
        step = step * extent
    return Slot(dtype, shape, tuple(strides))


def executable(
    text: str,
    signature: Signature | None = None,
    constants: tuple[np.ndarray, ...] = (),
    scratch: int = 64,
) -> Executable:
    """Return an executable of a program above; by default one i64 in, one out."""
    if signature is None:
        one = slot(dtypes.int64, 1)
        signature = Signature("program", (one,), (one,))
    native = NativeObject(compile_ir(text), scratch, "test")
    return Executable(signature, native, constants, support())


def keeping() -> Executable:
    """Return the executable that keeps 16 bytes between calls."""
    four = slot(dtypes.float32, 4)
    signature = Signature("keeping", (four,), (four,), kept_bytes=16, kept_inputs=(0,))
    return executable(KEEPING, signature)
