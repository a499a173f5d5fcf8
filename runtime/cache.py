"""A cache of files on disk, shared by processes.

`SMELT_CACHE_DIR` names the directory; set to the empty string it turns the cache off; unset, it is
`smelt` in the user's cache directory. Entries are written to a temporary file and moved into
place, so a reader sees a whole entry or none. Each carries a checksum; what does not match is
discarded. The least recently used entries go when the cache grows past its bound.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ENVIRONMENT_VARIABLE = "SMELT_CACHE_DIR"
DEFAULT_LIMIT = 2**30

_MAGIC = b"smelt-cache-1\n"
_DIGEST = hashlib.sha256


class CacheWarning(RuntimeWarning):
    """The disk cache cannot be used; everything is compiled afresh."""


def cache_key(*parts: str | bytes) -> str:
    """Return the key of an entry: a digest of its parts and of smelt's own source.

    What an entry holds depends on the version that made it; in a checkout the version does not
    change with each edit, so the sources stand in for it.
    """
    digest = _DIGEST(_sources_digest())
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


@cache
def _sources_digest() -> bytes:
    """Digest the names, sizes and times of smelt's source files, and the library versions."""
    digest = _DIGEST(sys.version.encode())
    packages = ("smelt", "smelt.ir", "smelt.passes", "smelt.codegen", "smelt.runtime")
    roots = {Path(root) for package in packages for root in _roots(package)}
    for root in sorted(roots):
        for file in sorted(root.rglob("*.py")):
            status = file.stat()
            entry = f"{file.relative_to(root)} {status.st_size} {status.st_mtime_ns}\n"
            digest.update(entry.encode())
    for name in ("smelt", "llvmlite", "numpy"):
        digest.update(f"{name} {_version(name)}\n".encode())
    return digest.digest()


def _roots(package: str) -> tuple[str, ...]:
    from importlib.util import find_spec

    spec = find_spec(package)
    return () if spec is None else tuple(spec.submodule_search_locations or ())


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


@dataclass(frozen=True)
class DiskCache:
    """A directory of entries, each a key and bytes.

    Attributes:
        directory: where the entries are; None: the cache is off.
        limit: bytes that the entries may take in all.
    """

    directory: Path | None
    limit: int = DEFAULT_LIMIT

    def get(self, key: str) -> bytes | None:
        """Return the entry of a key, None if there is none; a damaged one is removed."""
        if self.directory is None:
            return None
        file = self._file(self.directory, key)
        try:
            with file.open("rb") as stream:
                _refuse_other_users(file, os.fstat(stream.fileno()))
                data = stream.read()
        except OSError:
            return None
        header = len(_MAGIC) + _DIGEST().digest_size
        body = data[header:]
        if data[:header] != _MAGIC + _DIGEST(body).digest():
            file.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):  # only the order in which entries go suffers
            os.utime(file)
        return body

    def put(self, key: str, body: bytes) -> None:
        """Store an entry; a cache that cannot be written warns and is otherwise ignored."""
        if self.directory is None:
            return
        file = self._file(self.directory, key)
        try:
            _make_private(self.directory)
            file.parent.mkdir(exist_ok=True)
            write_atomically(file, _MAGIC + _DIGEST(body).digest() + body)
            self._shrink(self.directory)
        except OSError as error:
            warnings.warn(
                f"smelt cannot write its cache in {self.directory} ({error}); set "
                f"{ENVIRONMENT_VARIABLE} to a directory of your own, or to nothing to turn the "
                "cache off",
                CacheWarning,
                stacklevel=2,
            )

    def discard(self, key: str) -> None:
        """Remove an entry, if there is one."""
        if self.directory is not None:
            self._file(self.directory, key).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove every entry."""
        if self.directory is not None:
            for file, _ in _entries(self.directory):
                file.unlink(missing_ok=True)

    def _file(self, directory: Path, key: str) -> Path:
        return directory / key[:2] / f"{key[2:]}.bin"

    def _shrink(self, directory: Path) -> None:
        entries = [(s.st_mtime_ns, s.st_size, f) for f, s in _entries(directory)]
        total = sum(size for _, size, _ in entries)
        if total <= self.limit:
            return
        # Down to three quarters, so that not every later entry removes another.
        for _, size, file in sorted(entries, key=lambda e: e[0]):
            file.unlink(missing_ok=True)
            total -= size
            if total <= self.limit * 3 // 4:
                return


def default_cache() -> DiskCache:
    """Return the cache that the environment asks for."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named is not None:
        return DiskCache(Path(named).expanduser() if named else None)
    match sys.platform:
        case "win32":
            base = os.environ.get("LOCALAPPDATA")
            fallback = Path.home() / "AppData" / "Local"
        case "darwin":
            base, fallback = None, Path.home() / "Library" / "Caches"
        case _:
            base, fallback = os.environ.get("XDG_CACHE_HOME"), Path.home() / ".cache"
    return DiskCache((Path(base) if base else fallback) / "smelt")


def _make_private(directory: Path) -> None:
    """Make the directory; one of another user will not do, since entries are run as code."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_other_users(directory, directory.stat())


def _refuse_other_users(path: Path, status: os.stat_result) -> None:
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user")


def write_atomically(file: Path, data: bytes) -> None:
    """Write a file such that readers find the old contents or the new, never a part."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _entries(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the entries with their status; another process may remove them meanwhile."""
    for pattern in ("??/*.bin", "??/.*.tmp"):
        for file in directory.glob(pattern):
            try:
                yield file, file.stat()
            except FileNotFoundError:
                continue
