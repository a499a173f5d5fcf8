"""A GPT block and a ResNet basic block with PyTorch's weights give PyTorch's results."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import smelt

torch = pytest.importorskip("torch")


def gpt_block(framework: ModuleType) -> Any:
    """Return a pre-norm decoder block made of `framework`'s modules."""
    nn = framework.nn

    class Block(nn.Module):
        def __init__(self, width: int = 32, heads: int = 4) -> None:
            super().__init__()
            self.heads = heads
            self.ln_1 = nn.LayerNorm(width)
            self.attn = nn.Linear(width, 3 * width)
            self.proj = nn.Linear(width, width)
            self.ln_2 = nn.LayerNorm(width)
            self.up = nn.Linear(width, 4 * width)
            self.down = nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            n, t, c = x.shape
            q, k, v = self.attn(self.ln_1(x)).split(c, dim=2)
            q, k, v = (z.view(n, t, self.heads, c // self.heads).transpose(1, 2) for z in (q, k, v))
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.proj(y.transpose(1, 2).contiguous().view(n, t, c))
            return x + self.down(nn.functional.gelu(self.up(self.ln_2(x))))

    return Block()


def resnet_block(framework: ModuleType) -> Any:
    """Return a basic block with a projection, made of `framework`'s modules."""
    nn = framework.nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(8)
            self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(8)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = nn.Sequential(
                nn.Conv2d(6, 8, 1, stride=2, bias=False), nn.BatchNorm2d(8)
            )

        def forward(self, x: Any) -> Any:
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn2(self.conv2(out))
            out += self.downsample(x)
            return self.relu(out)

    return Block()


BLOCKS = {"gpt": (gpt_block, (2, 10, 32)), "resnet": (resnet_block, (3, 6, 12, 12))}


def close(ours: Any, theirs: Any, name: str) -> None:
    np.testing.assert_allclose(
        ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-4, atol=2e-5, err_msg=name
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("block", BLOCKS)
def test_block(block: str, compiled: bool, training: bool) -> None:
    make, shape = BLOCKS[block]
    torch.manual_seed(0)
    theirs = make(torch)
    ours = make(smelt)
    weights = {k: smelt.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    assert ours.load_state_dict(weights).missing_keys == []
    theirs.train(training)
    ours.train(training)
    data = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    x = torch.from_numpy(data.copy()).requires_grad_()
    z = smelt.from_numpy(data.copy()).requires_grad_()
    run = smelt.compile(ours) if compiled else ours
    expected, found = theirs(x), run(z)
    close(found, expected, "output")
    seed = np.random.default_rng(2).standard_normal(tuple(expected.shape)).astype(np.float32)
    expected.backward(torch.from_numpy(seed))
    found.backward(smelt.from_numpy(seed))
    close(z.grad, x.grad, "gradient of the input")
    other = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        close(other[name].grad, parameter.grad, name)
    buffers = dict(ours.named_buffers())
    for name, buffer in theirs.named_buffers():
        close(buffers[name], buffer, name)


@pytest.mark.parametrize("block", BLOCKS)
def test_printed_tree_and_keys(block: str) -> None:
    make, _ = BLOCKS[block]
    assert repr(make(smelt)) == repr(make(torch))
    assert list(make(smelt).state_dict()) == list(make(torch).state_dict())
