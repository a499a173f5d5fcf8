from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from smelt.runtime import cache_key, default_cache
from smelt.runtime.cache import CacheWarning, DiskCache

KEY = cache_key("graph", "target", b"options")


def test_keys_tell_their_parts_apart() -> None:
    assert cache_key("graph", "target", b"options") == KEY
    others = {cache_key("graph", "targetoptions"), cache_key("grapht", "arget", b"options")}
    assert len({KEY} | others) == 3


def test_entries_come_back(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "new" / "place")
    assert cache.get(KEY) is None
    cache.put(KEY, b"machine code")
    assert cache.get(KEY) == b"machine code"
    cache.put(KEY, b"other code")
    assert DiskCache(tmp_path / "new" / "place").get(KEY) == b"other code"
    cache.discard(KEY)
    cache.discard(KEY)
    assert cache.get(KEY) is None


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "foreign"])
def test_damaged_entries_are_discarded(tmp_path: Path, damage: str) -> None:
    cache = DiskCache(tmp_path)
    cache.put(KEY, b"machine code" * 100)
    (file,) = tmp_path.glob("??/*.bin")
    data = bytearray(file.read_bytes())
    match damage:
        case "flipped":
            data[-7] ^= 1
        case "truncated":
            del data[-1]
        case "empty":
            data.clear()
        case _:
            data[:] = b"something else altogether, and long enough to hold a header and more"
    file.write_bytes(data)
    assert cache.get(KEY) is None
    assert not file.exists()
    cache.put(KEY, b"again")
    assert cache.get(KEY) == b"again"


def test_the_least_recently_used_entries_go(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, limit=10_000)
    keys = [cache_key(str(k)) for k in range(12)]
    for age, key in enumerate(keys[:9]):
        cache.put(key, bytes(1000))
        (file,) = tmp_path.glob(f"{key[:2]}/{key[2:]}.bin")
        os.utime(file, (1000 + age, 1000 + age))
    assert cache.get(keys[0]) is not None  # now the most recently used
    cache.put(keys[9], bytes(1000))
    kept = [key for key in keys if cache.get(key) is not None]
    assert keys[0] in kept and keys[9] in kept
    assert keys[1] not in kept
    assert sum(f.stat().st_size for f in tmp_path.glob("??/*")) <= 10_000


def test_a_cache_that_cannot_be_written_warns(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    cache = DiskCache(blocked)
    with pytest.warns(CacheWarning, match="SMELT_CACHE_DIR"):
        cache.put(KEY, b"x")
    assert cache.get(KEY) is None


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SMELT_CACHE_DIR", str(tmp_path))
    assert default_cache().directory == tmp_path
    monkeypatch.setenv("SMELT_CACHE_DIR", "")
    off = default_cache()
    off.put(KEY, b"x")
    assert (off.directory, off.get(KEY)) == (None, None)
    off.clear()
    monkeypatch.delenv("SMELT_CACHE_DIR")
    named = default_cache().directory
    assert named is not None and named.name == "smelt"


WRITER = """
import sys
from pathlib import Path
from smelt.runtime.cache import DiskCache
cache = DiskCache(Path(sys.argv[1]), limit=400_000)
for k in range(300):
    key = f"{k % 20:064x}"
    body = bytes([k % 20]) * (20_000 + k % 20)
    found = cache.get(key)
    assert found is None or found == body[: len(found)] and len(found) == len(body), key
    cache.put(key, body)
print("done")
"""


def test_processes_share_a_cache(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "done\n", "")
    assert not list(tmp_path.glob("??/.*"))
