"""What the runtime's native code needs of a machine, as LLVM IR text.

    pause()                               # a moment's rest in a loop that watches memory
    i64 ticks()                           # a time stamp; interval() is 40 to 100 ms of them
    sleep_while(pool, address, expected)  # until `wake(address)`, if *address is `expected`;
                                          # may return early

On Linux the last two are the futex system call; elsewhere a short sleep through a function that
the pool's memory holds, and nothing.
"""

from __future__ import annotations

_X86_PRIMITIVES = """
define internal void @pause() #0 {
  call void asm sideeffect "pause", ""()
  ret void
}
define internal i64 @ticks() #0 {
  %low_high = call { i32, i32 } asm sideeffect "rdtsc", "={ax},={dx}"()
  %low = extractvalue { i32, i32 } %low_high, 0
  %high = extractvalue { i32, i32 } %low_high, 1
  %a = zext i32 %low to i64
  %b = zext i32 %high to i64
  %c = shl i64 %b, 32
  %t = or i64 %a, %c
  ret i64 %t
}
define internal i64 @interval() #0 {
  ret i64 200000000 ; 40 to 100 ms
}
"""

_ARM_PRIMITIVES = """
define internal void @pause() #0 {
  call void asm sideeffect "isb", ""()
  ret void
}
define internal i64 @ticks() #0 {
  %t = call i64 asm sideeffect "mrs $0, cntvct_el0", "=r"()
  ret i64 %t
}
define internal i64 @interval() #0 {
  %frequency = call i64 asm sideeffect "mrs $0, cntfrq_el0", "=r"()
  %t = lshr i64 %frequency, 4 ; 62 ms
  ret i64 %t
}
"""

# futex(2): operations 128 and 129 are FUTEX_WAIT and FUTEX_WAKE of one process.
_FUTEX = """
define internal void @sleep_while(ptr %pool, ptr %address, i32 %expected) #0 {
  %value = zext i32 %expected to i64
  %r = call i64 @futex(ptr %address, i64 128, i64 %value)
  ret void
}
define internal void @wake(ptr %address) #0 {
  %r = call i64 @futex(ptr %address, i64 129, i64 2147483647)
  ret void
}
"""

_X86_FUTEX = """
define internal i64 @futex(ptr %address, i64 %operation, i64 %value) #0 {
  %r = call i64 asm sideeffect "syscall", "={rax},{rax},{rdi},{rsi},{rdx},{r10},\
~{rcx},~{r11},~{memory},~{dirflag},~{fpsr},~{flags}"\
(i64 202, ptr %address, i64 %operation, i64 %value, i64 0)
  ret i64 %r
}
"""

_ARM_FUTEX = """
define internal i64 @futex(ptr %address, i64 %operation, i64 %value) #0 {
  %r = call i64 asm sideeffect "svc #0", "={x0},{x8},{x0},{x1},{x2},{x3},~{memory}"\
(i64 98, ptr %address, i64 %operation, i64 %value, i64 0)
  ret i64 %r
}
"""

# No futex: a short sleep, after which the caller of this looks again.
_NO_FUTEX = """
define internal void @sleep_while(ptr %pool, ptr %address, i32 %expected) #0 {
  %sleep.at = getelementptr i64, ptr %pool, i64 {Pool.SLEEP}
  %sleep = load ptr, ptr %sleep.at
  %argument.at = getelementptr i64, ptr %pool, i64 {Pool.SLEEP_ARGUMENT}
  %argument = load i32, ptr %argument.at
  call void %sleep(i32 %argument)
  ret void
}
define internal void @wake(ptr %address) #0 {
  ret void
}
"""


def primitives(triple: str) -> str:
    """Return the definitions for a target triple; names in braces are left to the caller.

    Raises:
        ValueError: the architecture is neither x86-64 nor aarch64.
    """
    architecture, _, system = triple.partition("-")
    match architecture:
        case "x86_64" | "amd64":
            basic, futex = _X86_PRIMITIVES, _X86_FUTEX
        case "aarch64" | "arm64":
            basic, futex = _ARM_PRIMITIVES, _ARM_FUTEX
        case _:
            raise ValueError(f"smelt has no thread pool for {architecture!r} ({triple})")
    return basic + (futex + _FUTEX if "linux" in system else _NO_FUTEX)
