"""Loads relocatable machine code into the process, without LLVM.

Takes the object file of a `NativeObject`; gives the addresses of its exported functions. On ELF
platforms smelt does it itself: sections are copied into one mapping, relocated while it is
writable, and only then made executable, so that no page is both. Mach-O and COFF objects go
through LLVM's own loader instead, and need llvmlite at run time.

Source: System V Application Binary Interface, AMD64 supplement, section 4.4; ELF for the Arm
64-bit Architecture, section 5.7.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from smelt.runtime.elf import ElfObject, LoadError, Symbol, parse_elf
from smelt.runtime.relocation import AARCH64, RELOCATIONS, X86_64, RelocationError, machine_name

# How Mach-O files start on macOS, and COFF files (x86-64, arm64) on Windows.
_FOREIGN = {"Darwin": (b"\xcf\xfa\xed\xfe",), "Windows": (b"\x64\x86", b"\x64\xaa")}
_MACHINES = {"x86_64": X86_64, "amd64": X86_64, "aarch64": AARCH64, "arm64": AARCH64}


class LoadedObject:
    """Machine code in memory; the memory goes when the last reference to this object does.

    Attributes:
        functions: address of each exported function, by name.
    """

    def __init__(self, functions: Mapping[str, int], owner: Any = None) -> None:
        self.functions = functions
        self._owner = owner

    def __getitem__(self, name: str) -> int:
        try:
            return self.functions[name]
        except KeyError:
            known = ", ".join(sorted(self.functions)) or "nothing"
            raise LoadError(f"object exports no function {name!r}; it exports {known}") from None


def load(code: bytes) -> LoadedObject:
    """Load an object file for this machine.

    Raises:
        LoadError: it is malformed, made for another machine, refers to symbols outside itself, or
            needs a relocation that smelt's emitters do not produce.
    """
    if code.startswith(b"\x7fELF"):
        return _load_elf(parse_elf(code))
    # LLVM ends the process on what it does not recognise, so recognise it first.
    if code.startswith(_FOREIGN.get(platform.system(), ())):
        return _load_by_llvm(code)
    raise LoadError(f"not an object file for {platform.system()}")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where each section goes in the mapping.

    Attributes:
        offsets: offset of each allocated section, by its number.
        size: bytes in all, a multiple of the page size.
        executable: (start, stop) of the pages that hold code.
        read_only: (start, stop) of the pages that hold constants.
    """

    offsets: Mapping[int, int]
    size: int
    executable: tuple[int, int]
    read_only: tuple[int, int]


def place(elf: ElfObject) -> Placement:
    """Lay out the allocated sections: code, then constants, then data, each on pages of its own."""
    groups: tuple[list[int], list[int], list[int]] = ([], [], [])
    for number, section in enumerate(elf.sections):
        # Unwinding tables are for debuggers and C++ exceptions; nothing unwinds through our code.
        if not section.allocated or section.name.startswith(".eh_frame"):
            continue
        if section.executable:
            groups[0].append(number)
        elif section.writable:
            groups[2].append(number)
        else:
            groups[1].append(number)
    offsets: dict[int, int] = {}
    bounds: list[tuple[int, int]] = []
    position = 0
    for group in groups:
        start = position
        for number in group:
            position = _align(position, elf.sections[number].alignment)
            offsets[number] = position
            position += elf.sections[number].size
        position = _align(position, mmap.PAGESIZE)
        bounds.append((start, position))
    return Placement(offsets, max(position, mmap.PAGESIZE), bounds[0], bounds[1])


def _align(position: int, alignment: int) -> int:
    return (position + alignment - 1) & -alignment


def relocate(elf: ElfObject, placement: Placement, memory: Any, base: int) -> None:
    """Copy the sections into `memory` and resolve every reference for the address `base`.

    Args:
        elf: the object.
        placement: where its sections go.
        memory: writable buffer of `placement.size` bytes.
        base: address at which the buffer's first byte is, or will be.

    Raises:
        LoadError: an undefined symbol, an unknown relocation, or a target out of reach.
    """
    for number, offset in placement.offsets.items():
        data = elf.sections[number].data
        memory[offset : offset + len(data)] = data
    table = RELOCATIONS.get(elf.machine, {})
    for relocation in elf.relocations:
        if relocation.section not in placement.offsets:
            continue
        symbol = relocation.symbol
        if relocation.offset + 4 > elf.sections[relocation.section].size:
            raise LoadError(f"damaged object file: a relocation of {symbol.name!r} is nowhere")
        rule = table.get(relocation.kind)
        if rule is None:
            raise LoadError(
                f"relocation {relocation.kind} of {machine_name(elf.machine)} against "
                f"{symbol.name or 'a section'!r} is not one that smelt loads; emit with "
                "reloc='pic' and codemodel='small', and keep globals internal"
            )
        value = _address(elf, placement, symbol, base) + relocation.addend
        at = placement.offsets[relocation.section] + relocation.offset
        try:
            rule(memory, at, base + at, value)
        except RelocationError as error:
            raise LoadError(f"cannot resolve {symbol.name!r}: {error}") from error


def _address(elf: ElfObject, placement: Placement, symbol: Symbol, base: int) -> int:
    if symbol.undefined:
        raise LoadError(
            f"object refers to the undefined symbol {symbol.name!r}; emitted code reaches what it "
            "needs through the context's table only"
        )
    if symbol.absolute:
        return symbol.value
    if symbol.section not in placement.offsets:
        raise LoadError(f"{symbol.name!r} lies in section {symbol.section}, which is not loaded")
    return base + placement.offsets[symbol.section] + symbol.value


def _load_elf(elf: ElfObject) -> LoadedObject:
    if elf.machine != _MACHINES.get(platform.machine().lower()):
        raise LoadError(
            f"object is for {machine_name(elf.machine)}, this machine is {platform.machine()}"
        )
    placement = place(elf)
    libc = _libc()
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    base = libc.mmap(None, placement.size, mmap.PROT_READ | mmap.PROT_WRITE, private, -1, 0)
    if base in (None, ctypes.c_void_p(-1).value):
        raise LoadError(f"no memory for {placement.size} bytes of code")
    loaded = LoadedObject(
        {
            s.name: base + placement.offsets[s.section] + s.value
            for s in elf.symbols
            if s.exported_function and s.section in placement.offsets
        }
    )
    # Not at exit: daemon threads may still be running this code then.
    weakref.finalize(loaded, libc.munmap, base, placement.size).atexit = False
    memory = memoryview((ctypes.c_ubyte * placement.size).from_address(base)).cast("B")
    relocate(elf, placement, memory, base)
    _protect(base, placement.read_only, mmap.PROT_READ)
    _flush(base, placement.executable)
    _protect(base, placement.executable, mmap.PROT_READ | mmap.PROT_EXEC)
    return loaded


def _protect(base: int, pages: tuple[int, int], access: int) -> None:
    start, stop = pages
    if start < stop and _libc().mprotect(base + start, stop - start, access) != 0:
        raise LoadError(
            f"the system refuses to change the protection of {stop - start} bytes "
            f"(errno {ctypes.get_errno()}); is executable memory forbidden by a security policy?"
        )


def _flush(base: int, pages: tuple[int, int]) -> None:
    """Make fresh code visible to instruction fetch where caches are not coherent."""
    if platform.machine().lower() not in ("aarch64", "arm64"):
        return
    try:
        clear = ctypes.CDLL("libgcc_s.so.1").__clear_cache
    except OSError:
        return  # Linux itself synchronises a page that becomes executable
    clear(ctypes.c_void_p(base + pages[0]), ctypes.c_void_p(base + pages[1]))


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    size, address = ctypes.c_size_t, ctypes.c_void_p
    libc.mmap.restype = address
    libc.mmap.argtypes = (address, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.mprotect.argtypes = (address, size, ctypes.c_int)
    libc.munmap.argtypes = (address, size)
    return libc


def _load_by_llvm(code: bytes) -> LoadedObject:
    """Load a Mach-O or COFF object through LLVM's run-time linker."""
    try:
        from llvmlite import binding as llvm
    except ImportError as error:
        raise LoadError(
            "object is not ELF; loading Mach-O and COFF objects needs llvmlite installed"
        ) from error
    llvm.initialize_native_target()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    try:
        file = llvm.ObjectFileRef.from_data(code)
    except RuntimeError as error:
        raise LoadError(f"not an object file: {error}") from error
    engine.add_object_file(file)
    engine.finalize_object()
    return _LlvmObject(engine)


class _LlvmObject(LoadedObject):
    """Code that LLVM has loaded; the engine owns its memory."""

    def __init__(self, engine: Any) -> None:
        super().__init__({}, engine)

    def __getitem__(self, name: str) -> int:
        address = self._owner.get_function_address(name)
        if address == 0:
            raise LoadError(f"object exports no function {name!r}")
        return address
