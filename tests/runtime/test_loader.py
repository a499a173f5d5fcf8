from __future__ import annotations

import ctypes
import gc
import platform
import struct
from pathlib import Path
from random import Random

import pytest
from smelt.runtime import elf as elf_module
from smelt.runtime import loader
from smelt.runtime.elf import LoadError
from smelt.runtime.relocation import AARCH64

from tests.runtime.programs import compile_ir

linux = pytest.mark.skipif(platform.system() != "Linux", reason="reads ELF objects of this machine")

# A table of constants, a variable, a pointer to a function, a call: one relocation of each kind.
GLOBALS = """
@table = internal constant [4 x i64] [i64 10, i64 20, i64 30, i64 40]
@count = internal global i64 5
@zeros = internal global [100 x i64] zeroinitializer
@pointer = internal global ptr @double
define internal i64 @double(i64 %x) noinline { %y = mul i64 %x, 2 ret i64 %y }
define i64 @get(i64 %i) {
  %at = getelementptr [4 x i64], ptr @table, i64 0, i64 %i
  %v = load i64, ptr %at
  %c = load volatile i64, ptr @count
  %next = add i64 %c, 1
  store volatile i64 %next, ptr @count
  %z = getelementptr [100 x i64], ptr @zeros, i64 0, i64 %i
  %zero = load volatile i64, ptr %z
  %f = load volatile ptr, ptr @pointer
  %doubled = call i64 %f(i64 %v)
  %again = call i64 @double(i64 %doubled)
  %s = add i64 %again, %c
  %t = add i64 %s, %zero
  ret i64 %t
}
"""
UNDEFINED = """
declare i64 @outside(i64)
define i64 @get(i64 %i) { %r = call i64 @outside(i64 %i) ret i64 %r }
"""


def protections(address: int) -> str:
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, stop = (int(x, 16) for x in line.split()[0].split("-"))
        if start <= address < stop:
            return line.split()[1]
    return "unmapped"


@linux
def test_code_with_constants_variables_and_calls_runs() -> None:
    loaded = loader.load(compile_ir(GLOBALS))
    get = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(loaded["get"])
    assert get(0) == 10 * 4 + 5
    assert get(3) == 40 * 4 + 6
    assert set(loaded.functions) == {"get"}


@linux
def test_code_is_never_writable_and_goes_with_its_last_user() -> None:
    loaded = loader.load(compile_ir(GLOBALS))
    address = loaded["get"]
    assert protections(address) == "r-xp"
    del loaded
    gc.collect()
    assert protections(address) == "unmapped"


@linux
def test_an_undefined_symbol_is_named() -> None:
    code = compile_ir(UNDEFINED)
    assert elf_module.undefined_symbols(code) == ("outside",)
    assert elf_module.undefined_symbols(compile_ir(GLOBALS)) == ()
    with pytest.raises(LoadError, match="undefined symbol 'outside'"):
        loader.load(code)


@linux
def test_an_unknown_relocation_is_named() -> None:
    code = bytearray(compile_ir(GLOBALS))
    elf = elf_module.parse_elf(bytes(code))
    rela = next(s for s in elf.sections if s.name == ".rela.text")
    at = bytes(code).index(rela.data)
    code[at + 8 : at + 12] = struct.pack("<I", 42)
    with pytest.raises(LoadError, match=r"relocation 42 .*reloc='pic'"):
        loader.load(bytes(code))


@linux
def test_code_of_another_machine_is_refused() -> None:
    other = "aarch64-unknown-linux-gnu" if platform.machine() == "x86_64" else "x86_64-linux-gnu"
    with pytest.raises(LoadError, match="object is for"):
        loader.load(compile_ir(GLOBALS, other))


@linux
def test_a_function_that_is_not_there_is_named() -> None:
    with pytest.raises(LoadError, match=r"no function 'put'; it exports get"):
        loader.load(compile_ir(GLOBALS))["put"]


@pytest.mark.parametrize("keep", [5, 40, 100, 700])
def test_a_truncated_object_is_refused(keep: int) -> None:
    code = compile_ir(GLOBALS, "x86_64-unknown-linux-gnu")
    with pytest.raises(LoadError):
        loader.load(code[:keep])


@pytest.mark.parametrize("triple", ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"])
def test_damage_is_refused_or_harmless(triple: str) -> None:
    code = compile_ir(GLOBALS, triple)
    random = Random(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(code)
        for _ in range(random.randint(1, 4)):
            damaged[random.randrange(len(code))] = random.randrange(256)
        try:
            elf = elf_module.parse_elf(bytes(damaged))
            placement = loader.place(elf)
            if placement.size < 2**24:
                memory = memoryview(bytearray(placement.size))
                loader.relocate(elf, placement, memory, 0x7F0000000000)
        except LoadError:
            refused += 1
    assert refused > 50


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(LoadError):
        loader.load(b"not an object file at all")


def test_arm_code_is_relocated() -> None:
    """Decode what the patched instructions refer to."""
    elf = elf_module.parse_elf(compile_ir(GLOBALS, "aarch64-unknown-linux-gnu"))
    assert elf.machine == AARCH64
    placement = loader.place(elf)
    base = 0x7F1234560000
    memory = memoryview(bytearray(placement.size))
    loader.relocate(elf, placement, memory, base)
    names = {number: s.name for number, s in enumerate(elf.sections)}
    seen: set[int] = set()
    for relocation in elf.relocations:
        if names[relocation.section] != ".text":
            continue
        symbol = relocation.symbol
        target = base + placement.offsets[symbol.section] + symbol.value + relocation.addend
        at = placement.offsets[relocation.section] + relocation.offset
        (word,) = struct.unpack_from("<I", memory, at)
        place = base + at
        seen.add(relocation.kind)
        match relocation.kind:
            case 275:
                pages = ((word >> 5) & 0x7FFFF) << 2 | (word >> 29) & 3
                pages -= (pages & 1 << 20) << 1
                assert (place >> 12) + pages == target >> 12
            case 277:
                assert (word >> 10) & 0xFFF == target & 0xFFF
            case 286:
                assert ((word >> 10) & 0xFFF) * 8 == target & 0xFFF
            case 282 | 283:
                distance = word & 0x3FFFFFF
                distance -= (distance & 1 << 25) << 1
                assert place + distance * 4 == target
            case other:
                raise AssertionError(f"relocation {other} not looked at")
    assert {275, 286} <= seen
