"""Views share storage, know their layout, and count writes together."""

from __future__ import annotations

import numpy as np
import pytest
import smelt

VIEWS = {
    "view": lambda x: x.view(6, 4),
    "reshape": lambda x: x.reshape(4, 6),
    "flatten": lambda x: x.flatten(1),
    "permute": lambda x: x.permute(2, 0, 1),
    "transpose": lambda x: x.transpose(0, 2),
    "T": lambda x: x[0].T,
    "mT": lambda x: x.mT,
    "unsqueeze": lambda x: x.unsqueeze(1),
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "select": lambda x: x.select(1, -1),
    "split": lambda x: x.split(2, 1)[1],
    "chunk": lambda x: x.chunk(2, 2)[1],
    "unbind": lambda x: x.unbind(0)[1],
    "diagonal": lambda x: x.diagonal(1, 1, 2),
    "unfold": lambda x: x.unfold(2, 2, 1),
    "as_strided": lambda x: x.as_strided((2, 2), (12, 1), 3),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "int": lambda x: x[1],
    "slice": lambda x: x[:, ::2, 1:3],
    "none": lambda x: x[:, None, ..., 0],
    "movedim": lambda x: x.movedim(0, 2),
}


def cube() -> smelt.Tensor:
    return smelt.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("name", VIEWS)
def test_view_shares_storage_both_ways(name: str) -> None:
    base = cube()
    view = VIEWS[name](base)
    assert view.untyped_storage() is base.untyped_storage()
    place = view.storage_offset()
    view.fill_(-1.0)
    assert base.view(-1)[place].item() == -1.0
    base.zero_()
    assert not view.any()


@pytest.mark.parametrize("name", VIEWS)
def test_layout_is_numpys(name: str) -> None:
    base = cube()
    view = VIEWS[name](base)
    array = view.numpy()
    offset = (array.ctypes.data - base.data_ptr()) // 4
    assert view.storage_offset() == offset
    assert tuple(view.shape) == array.shape
    assert view.data_ptr() == array.ctypes.data
    moving = [(s, n) for s, n in zip(view.stride(), view.shape) if n > 1]
    assert moving == [(s // 4, n) for s, n in zip(array.strides, array.shape) if n > 1]


@pytest.mark.parametrize("name", [n for n in VIEWS if n != "data"])
def test_writes_count_for_the_family(name: str) -> None:
    base = cube()
    view = VIEWS[name](base)
    view.add_(1)
    assert base._version == view._version == 1
    epoch = base.untyped_storage().epoch
    base.mul_(2)
    assert view._version == 2
    assert base.untyped_storage().epoch == epoch + 1


def test_data_counts_alone() -> None:
    base = cube()
    base.data.add_(1)
    assert base._version == 0
    assert base[0, 0, 0].item() == 1.0


def test_copies_do_not_share() -> None:
    base = cube()
    for copy in (
        base.clone(),
        base.repeat(1, 1, 1),
        base[[0, 1]],
        base[base >= 0],
        base.transpose(0, 1).contiguous(),
        base.transpose(0, 1).reshape(-1),
        base + 0,
        base.flip(0),
        smelt.tensor(base),
    ):
        assert copy.untyped_storage() is not base.untyped_storage()


def test_contiguous_and_to_return_the_tensor_itself_where_it_fits() -> None:
    base = cube()
    assert base.contiguous() is base
    assert base.to(smelt.float32) is base
    assert base.float() is base
    assert base.to("cpu") is base
    assert base.to(smelt.float32, copy=True) is not base


def test_expand_makes_no_copy_and_refuses_writes() -> None:
    base = smelt.arange(3.0)
    wide = base.expand(4, 3)
    assert wide.stride() == (0, 1)
    assert wide.untyped_storage() is base.untyped_storage()
    with pytest.raises(RuntimeError, match="clone"):
        wide.add_(1)


def test_view_refuses_what_strides_do_not_allow() -> None:
    with pytest.raises(RuntimeError, match=r"strides \[1, 4\].*reshape"):
        smelt.zeros(3, 4).t().view(12)
    with pytest.raises(RuntimeError, match=r"\[5\] is invalid for input of size 12"):
        smelt.zeros(3, 4).view(5)
    with pytest.raises(RuntimeError, match="only one size may be -1"):
        smelt.zeros(3, 4).view(-1, -1)


def test_numpy_shares_memory_both_ways() -> None:
    array = np.arange(6.0).reshape(2, 3)[:, ::2]
    x = smelt.from_numpy(array)
    assert x.stride() == (3, 2)
    array[0, 0] = 7
    assert x[0, 0].item() == 7
    x[1, 1] = -1
    assert array[1, 1] == -1
    assert x.untyped_storage().shared
    y = smelt.zeros(3)
    y.numpy()[1] = 5
    assert y.tolist() == [0, 5, 0]
    assert y.untyped_storage().shared


def test_from_numpy_refuses() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        smelt.from_numpy(np.arange(3)[::-1])
    with pytest.raises(TypeError, match="can't convert"):
        smelt.from_numpy(np.array(["a"]))
    with pytest.raises(TypeError, match=r"expected np\.ndarray"):
        smelt.from_numpy([1, 2])


def test_in_place_changes_of_layout() -> None:
    x = smelt.arange(6.0).reshape(1, 2, 3)
    assert x.squeeze_().shape == (2, 3)
    assert x.t_().stride() == (1, 3)
    assert x.unsqueeze_(0).shape == (1, 3, 2)
    assert x[0, 2].tolist() == [2, 5]


def test_overlapping_copy_reads_before_it_writes() -> None:
    x = smelt.arange(6.0)
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2, 3, 4]


def test_dlpack_shares_memory() -> None:
    array = np.arange(3.0)
    x = smelt.from_dlpack(array)
    array[0] = 9
    assert x.tolist() == [9, 1, 2]
    y = smelt.zeros(2)
    np.from_dlpack(y)
    assert y.untyped_storage().shared
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(smelt.zeros(2, requires_grad=True))


def test_storage_is_flat() -> None:
    x = smelt.arange(6).reshape(2, 3)[1]
    storage = x.untyped_storage()
    assert len(storage) == 6 and storage[4] == 4 and storage.tolist() == list(range(6))
    assert storage.nbytes() == 48 and storage.data_ptr() + 24 == x.data_ptr()
