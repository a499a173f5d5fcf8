from __future__ import annotations

import numpy as np
import pytest
from smelt.ir import dtypes
from smelt.runtime.profiler import Profile
from smelt.runtime.signature import Signature

from tests.runtime.programs import DOUBLE, ENDLESS, PARALLEL_ENDLESS, executable, slot

ONE = slot(dtypes.int64, 1)


def test_launches_are_timed_by_name() -> None:
    # The program polls x[0] times, as if it launched as many kernels.
    program = executable(ENDLESS, Signature("p", (ONE,), (ONE,), launches=("add", "sub", "add")))
    with Profile() as profile:
        for _ in range(5):
            program(np.array([3]))
    program(np.array([3]))
    times = {k.kernel: k for k in profile.kernels}
    assert {n: k.launches for n, k in times.items()} == {"add": 10, "sub": 5}
    assert all(k.program == "p" and k.seconds > 0 for k in times.values())
    assert profile.kernels[0].seconds >= profile.kernels[-1].seconds
    table = str(profile)
    assert "p: add" in table and table.splitlines()[0].split()[:3] == ["ms", "%", "launches"]


def test_where_control_flow_decides_all_launches_are_one_row() -> None:
    program = executable(ENDLESS, Signature("p", (ONE,), (ONE,)))
    with Profile() as profile:
        program(np.array([7]))
        program(np.array([100_000]))
    (row,) = profile.kernels
    assert row.kernel == "(all launches)"
    assert row.launches == 7 + (1 << 16) - 1


def test_pieces_of_parallel_loops_are_not_launches() -> None:
    program = executable(PARALLEL_ENDLESS, Signature("p", (ONE,), (ONE,), launches=("only",)))
    with Profile() as profile:
        program(np.array([1]))
    (row,) = profile.kernels
    # The program polls once, after its loop; the pool's own looks between pieces do not count.
    assert (row.kernel, row.launches) == ("only", 1)


def test_programs_that_launch_nothing_leave_nothing() -> None:
    program = executable(DOUBLE, Signature("p", (), ()))
    with Profile() as profile:
        assert profile.kernels == ()
    assert str(profile).count("\n") == 0
    assert program.native_calls == 0


def test_one_profile_at_a_time() -> None:
    with Profile(), pytest.raises(RuntimeError, match="another profile"), Profile():
        pass
    with Profile():
        pass
