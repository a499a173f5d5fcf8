"""The relocations that smelt's object files contain, by machine.

Each rule patches the bytes at `offset` of `memory`, which is or will be at the address `place`, so
that they refer to `value` (symbol plus addend).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

X86_64 = 62
AARCH64 = 183

Rule = Callable[[Any, int, int, int], None]


class RelocationError(ValueError):
    """A relocation's target is out of its reach."""


def machine_name(machine: int) -> str:
    """Return the common name of an ELF machine number."""
    return {X86_64: "x86-64", AARCH64: "aarch64"}.get(machine, f"machine {machine}")


def _put(format: str, memory: Any, offset: int, value: int) -> None:
    try:
        struct.pack_into(format, memory, offset, value)
    except struct.error:
        raise RelocationError(f"{value} at {offset} does not fit") from None


def _absolute64(memory: Any, offset: int, place: int, value: int) -> None:
    _put("<Q", memory, offset, value & 0xFFFFFFFFFFFFFFFF)


def _relative32(memory: Any, offset: int, place: int, value: int) -> None:
    _put("<i", memory, offset, value - place)


def _relative64(memory: Any, offset: int, place: int, value: int) -> None:
    _put("<q", memory, offset, value - place)


def _instruction(memory: Any, offset: int) -> int:
    try:
        return struct.unpack_from("<I", memory, offset)[0]
    except struct.error:
        raise RelocationError(f"no instruction at {offset}") from None


def _branch26(memory: Any, offset: int, place: int, value: int) -> None:
    """Patch B or BL: a signed distance in words, 26 bits."""
    distance = value - place
    if distance % 4 or not -(2**27) <= distance < 2**27:
        raise RelocationError(f"branch over {distance} bytes")
    word = _instruction(memory, offset) & 0xFC000000 | (distance >> 2) & 0x03FFFFFF
    _put("<I", memory, offset, word)


def _page21(memory: Any, offset: int, place: int, value: int) -> None:
    """Patch ADRP: a signed distance in 4 KiB pages, 21 bits in two fields."""
    pages = (value >> 12) - (place >> 12)
    if not -(2**20) <= pages < 2**20:
        raise RelocationError(f"address over {pages} pages")
    word = _instruction(memory, offset) & 0x9F00001F
    _put("<I", memory, offset, word | (pages & 3) << 29 | ((pages >> 2) & 0x7FFFF) << 5)


def _page_offset(scale: int) -> Rule:
    """Return the rule for the 12 low bits of an address in units of 2**scale bytes."""

    def patch(memory: Any, offset: int, place: int, value: int) -> None:
        low = value & 0xFFF
        if low % (1 << scale):
            raise RelocationError(f"offset {low} is not a multiple of {1 << scale}")
        word = _instruction(memory, offset) & 0xFFC003FF
        _put("<I", memory, offset, word | (low >> scale) << 10)

    return patch


RELOCATIONS: Mapping[int, Mapping[int, Rule]] = {
    X86_64: {
        1: _absolute64,  # R_X86_64_64
        2: _relative32,  # R_X86_64_PC32
        4: _relative32,  # R_X86_64_PLT32: a direct call, since nothing is outside the object
        24: _relative64,  # R_X86_64_PC64
    },
    AARCH64: {
        257: _absolute64,  # R_AARCH64_ABS64
        260: _relative64,  # R_AARCH64_PREL64
        261: _relative32,  # R_AARCH64_PREL32
        275: _page21,  # R_AARCH64_ADR_PREL_PG_HI21
        277: _page_offset(0),  # R_AARCH64_ADD_ABS_LO12_NC
        278: _page_offset(0),  # R_AARCH64_LDST8_ABS_LO12_NC
        282: _branch26,  # R_AARCH64_JUMP26
        283: _branch26,  # R_AARCH64_CALL26
        284: _page_offset(1),  # R_AARCH64_LDST16_ABS_LO12_NC
        285: _page_offset(2),  # R_AARCH64_LDST32_ABS_LO12_NC
        286: _page_offset(3),  # R_AARCH64_LDST64_ABS_LO12_NC
        299: _page_offset(4),  # R_AARCH64_LDST128_ABS_LO12_NC
    },
}
