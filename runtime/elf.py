"""Reads relocatable ELF files: sections, symbols, relocations.

Source: Tool Interface Standard, Executable and Linking Format 1.2, with the 64-bit layouts of the
System V Application Binary Interface, chapter 4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from smelt.ir.errors import SmeltError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")

_RELOCATABLE = 1
_SYMTAB, _RELA_SECTION, _NOBITS = 2, 4, 8
_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
_UNDEFINED, _ABSOLUTE, _COMMON = 0, 0xFFF1, 0xFFF2
_LOCAL, _FUNCTION = 0, 2


class LoadError(SmeltError):
    """An object file cannot be loaded into this process; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section of an ELF object file.

    Attributes:
        name: such as `.text`.
        type: SHT constant.
        flags: SHF bits.
        data: its contents; empty for zero-filled ones.
        size: its size in memory in bytes.
        link: number of the section that it refers to.
        target: number of the section that it relocates.
        alignment: a power of two.
    """

    name: str
    type: int
    flags: int
    data: bytes
    size: int
    link: int
    target: int
    alignment: int

    @property
    def allocated(self) -> bool:
        """Whether it has a place in memory."""
        return self.flags & _ALLOC != 0

    @property
    def executable(self) -> bool:
        """Whether it holds code."""
        return self.flags & _EXECUTE != 0

    @property
    def writable(self) -> bool:
        """Whether it holds variables."""
        return self.flags & _WRITE != 0


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbol of an ELF object file.

    Attributes:
        name: empty for sections.
        kind: STT constant.
        binding: STB constant.
        section: number of its section, or a reserved one.
        value: offset in the section.
    """

    name: str
    kind: int
    binding: int
    section: int
    value: int

    @property
    def undefined(self) -> bool:
        """Whether it is to be found outside of the object."""
        return self.section in (_UNDEFINED, _COMMON)

    @property
    def absolute(self) -> bool:
        """Whether its value is an address already."""
        return self.section == _ABSOLUTE

    @property
    def exported_function(self) -> bool:
        """Whether it is a function that others may call."""
        return self.kind == _FUNCTION and self.binding != _LOCAL and not self.undefined


@dataclass(frozen=True, slots=True)
class Relocation:
    """A place in a section that refers to a symbol.

    Attributes:
        section: number of the section.
        offset: of the place in it.
        kind: R constant of the machine.
        symbol: what is referred to.
        addend: is added to its address.
    """

    section: int
    offset: int
    kind: int
    symbol: Symbol
    addend: int


@dataclass(frozen=True, slots=True)
class ElfObject:
    """A parsed ELF64 relocatable file.

    Attributes:
        machine: EM constant.
        sections: in the order of the file.
        symbols: in the order of the symbol table.
        relocations: of all sections, in the order of the file.
    """

    machine: int
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]


def parse_elf(code: bytes) -> ElfObject:
    """Parse an ELF64 little-endian relocatable file; LoadError if it is not one."""
    try:
        return _parse(code)
    except (struct.error, IndexError, ValueError) as error:
        raise LoadError(f"truncated or damaged object file: {error}") from error


def _parse(code: bytes) -> ElfObject:
    head = _HEADER.unpack_from(code)
    if code[4] != 2 or code[5] != 1 or head[1] != _RELOCATABLE:
        raise LoadError("not a 64-bit little-endian relocatable ELF file")
    start, count, names_index = head[6], head[12], head[13]
    raw = [_SECTION.unpack_from(code, start + k * _SECTION.size) for k in range(count)]
    for entry in raw:
        if entry[1] != _NOBITS and entry[4] + entry[5] > len(code):
            raise LoadError("truncated or damaged object file: a section ends after the file")
    contents = [b"" if e[1] == _NOBITS else code[e[4] : e[4] + e[5]] for e in raw]
    sections = tuple(
        Section(
            _string(contents[names_index], e[0]), e[1], e[2], data, e[5], e[6], e[7], max(e[8], 1)
        )
        for e, data in zip(raw, contents)
    )
    symbols: list[Symbol] = []
    for section in sections:
        if section.type == _SYMTAB:
            strings = sections[section.link].data
            for name, kind, _, index, value, _ in _SYMBOL.iter_unpack(section.data):
                symbols.append(Symbol(_string(strings, name), kind & 15, kind >> 4, index, value))
    relocations = tuple(
        Relocation(section.target, offset, kind & 0xFFFFFFFF, symbols[kind >> 32], addend)
        for section in sections
        if section.type == _RELA_SECTION
        for offset, kind, addend in _RELA.iter_unpack(section.data)
    )
    return ElfObject(head[2], sections, tuple(symbols), relocations)


def _string(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode() if offset else ""


def undefined_symbols(code: bytes) -> tuple[str, ...]:
    """Return the names that an ELF object refers to but does not define, sorted."""
    return tuple(sorted(s.name for s in parse_elf(code).symbols if s.undefined and s.name))
