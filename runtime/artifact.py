"""Executables as bytes: saved, cached and loaded again, where there need be no compiler.

The format: a fixed head (magic, version, SHA-256 of all that follows, length of the header), a
header in JSON (signature, target, machine, table of contents), then the pieces: object code,
support code and constants, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.abi import NativeObject
from smelt.ir.dim import Atom, Dim, Quotient, Symbol
from smelt.ir.errors import SmeltError
from smelt.runtime.cache import DiskCache, write_atomically
from smelt.runtime.executable import Executable
from smelt.runtime.host import host_features, host_platform
from smelt.runtime.native_layout import PROTOCOL
from smelt.runtime.signature import Signature, Slot

_HEAD = struct.Struct("<8sQ32sQ")
_MAGIC = b"smeltexe"
_VERSION = 3
_ALIGNMENT = 64


class ArtifactError(SmeltError):
    """Bytes are not an executable that this smelt can run on this machine; says why."""


def to_bytes(executable: Executable) -> bytes:
    """Return an executable as bytes."""
    native, pieces = executable.native, bytearray()
    code = _append(pieces, native.code)
    support = _append(pieces, executable.support.code)
    constants = [
        {
            "dtype": dtypes.of_numpy(c.dtype).name,
            "shape": c.shape,
            "at": _append(pieces, c.tobytes()),
        }
        for c in executable.constants
    ]
    header = {
        "protocol": PROTOCOL,
        "platform": host_platform(),
        "features": sorted(host_features()),
        "target": native.target,
        "scratch_bytes": native.scratch_bytes,
        "code": code,
        "support": support,
        "constants": constants,
        "signature": _signature_to_json(executable.signature),
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(_HEAD.size + len(text)) % _ALIGNMENT)
    rest = text + bytes(pieces)
    return _HEAD.pack(_MAGIC, _VERSION, hashlib.sha256(rest).digest(), len(text)) + rest


def from_bytes(data: bytes) -> Executable:
    """Load an executable from the bytes that `to_bytes` gave.

    Raises:
        ArtifactError: damaged, of another version of the format, or made for another machine.
    """
    header, start = _read_header(data)
    if header["protocol"] != PROTOCOL:
        raise ArtifactError(
            f"executable speaks protocol {header['protocol']} with the runtime, this smelt "
            f"{PROTOCOL}; compile it again"
        )
    if header["platform"] != host_platform():
        raise ArtifactError(
            f"executable is for {header['platform']}, this machine is {host_platform()}"
        )
    missing = set(header["features"]) - host_features()
    if missing:
        raise ArtifactError(
            "executable was made on a processor with features that this one lacks: "
            + " ".join(sorted(missing))
        )
    native = NativeObject(
        _piece(data, start, header["code"]), header["scratch_bytes"], header["target"]
    )
    constants = [
        np.frombuffer(
            _piece(data, start, entry["at"]), dtypes.by_name(entry["dtype"]).numpy
        ).reshape(entry["shape"])
        for entry in header["constants"]
    ]
    signature = _signature_from_json(header["signature"])
    return Executable(signature, native, constants, _piece(data, start, header["support"]))


def save(executable: Executable, path: str | PathLike[str]) -> None:
    """Write an executable to a file."""
    write_atomically(Path(path), to_bytes(executable))


def load(path: str | PathLike[str]) -> Executable:
    """Read an executable from a file; ArtifactError if it cannot run here."""
    return from_bytes(Path(path).read_bytes())


def load_cached(cache: DiskCache, key: str) -> Executable | None:
    """Return the executable that a cache holds under a key, None if none that runs here."""
    data = cache.get(key)
    if data is None:
        return None
    try:
        return from_bytes(data)
    except ArtifactError:
        cache.discard(key)
        return None


def store_cached(cache: DiskCache, key: str, executable: Executable) -> None:
    """Put an executable into a cache."""
    cache.put(key, to_bytes(executable))


def _read_header(data: bytes) -> tuple[Mapping[str, Any], int]:
    """Return (header, position of the pieces) after checking that nothing is damaged."""
    if len(data) < _HEAD.size:
        raise ArtifactError("not an executable of smelt: too short")
    magic, version, digest, length = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ArtifactError("not an executable of smelt")
    if version != _VERSION:
        raise ArtifactError(f"executable has format {version}, this smelt reads {_VERSION}")
    if hashlib.sha256(memoryview(data)[_HEAD.size :]).digest() != digest:
        raise ArtifactError("executable is damaged: its checksum does not match")
    start = _HEAD.size + length
    return json.loads(data[_HEAD.size : start]), start


def _append(pieces: bytearray, data: bytes) -> tuple[int, int]:
    """Append a piece and return its (position, length)."""
    pieces.extend(b"\0" * (-len(pieces) % _ALIGNMENT))
    position = len(pieces)
    pieces.extend(data)
    return position, len(data)


def _piece(data: bytes, start: int, place: list[int]) -> bytes:
    position, length = place
    return data[start + position : start + position + length]


def _signature_to_json(signature: Signature) -> dict[str, Any]:
    return {
        "name": signature.name,
        "inputs": [_slot_to_json(s) for s in signature.inputs],
        "outputs": [_slot_to_json(s) for s in signature.outputs],
        "arena_bytes": _dim_to_json(signature.arena_bytes),
        "sizes": signature.sizes,
        "launches": signature.launches,
        "kept_bytes": signature.kept_bytes,
        "kept_inputs": signature.kept_inputs,
    }


def _signature_from_json(entry: Mapping[str, Any]) -> Signature:
    return Signature(
        entry["name"],
        tuple(map(_slot_from_json, entry["inputs"])),
        tuple(map(_slot_from_json, entry["outputs"])),
        _dim_from_json(entry["arena_bytes"]),
        tuple(entry["sizes"]),
        tuple(entry["launches"]),
        entry["kept_bytes"],
        tuple(entry["kept_inputs"]),
    )


def _slot_to_json(slot: Slot) -> list[Any]:
    return [
        slot.dtype.name,
        [_dim_to_json(d) for d in slot.shape],
        [_dim_to_json(d) for d in slot.strides],
    ]


def _slot_from_json(entry: list[Any]) -> Slot:
    name, shape, strides = entry
    return Slot(
        dtypes.by_name(name), tuple(map(_dim_from_json, shape)), tuple(map(_dim_from_json, strides))
    )


def _dim_to_json(dim: int | Dim) -> Any:
    """Return an int, or a list of [coefficient, atom, …] with atoms as names or [op, a, b]."""
    if isinstance(dim, int):
        return dim
    return [[c, *map(_atom_to_json, monomial)] for monomial, c in dim.terms]


def _atom_to_json(atom: Atom) -> Any:
    match atom:
        case Symbol(name):
            return name
        case Quotient(op, numerator, denominator):
            return [op, _dim_to_json(numerator), _dim_to_json(denominator)]


def _dim_from_json(entry: Any) -> int | Dim:
    if isinstance(entry, int):
        return entry
    return Dim(tuple((tuple(map(_atom_from_json, atoms)), c) for c, *atoms in entry))


def _atom_from_json(entry: Any) -> Atom:
    if isinstance(entry, str):
        return Symbol(entry)
    op, numerator, denominator = entry
    return Quotient(op, _dim_from_json(numerator), _dim_from_json(denominator))
