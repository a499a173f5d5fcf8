"""Functions of one and two tensors as PyTorch's: values, gradients, dtypes, errors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.parity.comparing import compare

UNARY = [
    "neg",
    "abs",
    "sign",
    "floor",
    "ceil",
    "trunc",
    "round",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "square",
    "exp",
    "expm1",
    "exp2",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "erf",
    "erfc",
    "sigmoid",
    "deg2rad",
    "rad2deg",
    "sinc",
    "nan_to_num",
    "isnan",
    "isinf",
    "isfinite",
    "logical_not",
    "signbit",
]
REDUCTIONS = [
    "sum",
    "mean",
    "var",
    "std",
    "amax",
    "amin",
    "max",
    "min",
    "argmax",
    "argmin",
    "any",
    "all",
    "nansum",
    "count_nonzero",
    "median",
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "sort",
    "argsort",
    "logcumsumexp",
    "softmax",
    "log_softmax",
]
ARGUMENTS = ["", "0", "1", "-1", "5", "dim=0", "dim=2"]
METHODS = """
x.view(6,4) | x.view(-1) | x.reshape(4,-1) | x.reshape((4,6)) | x.permute(2,0,1) | x.transpose(0,2)
x.t() | x[0].T | x.mT | x.flatten() | x.flatten(1) | x.flatten(0,1) | x.unflatten(2,(2,2))
x.squeeze() | x[:1].squeeze(0) | x.unsqueeze(-1) | x.unsqueeze(4) | x.expand(2,3,4)
x[:,:1].expand(-1,5,-1) | x.expand(5,2,3,4) | x.expand(3,3,4) | x.narrow(1,1,2) | x.narrow(1,2,2)
x.select(1,-1) | x.split(2,1) | x.split([1,2],1) | x.chunk(3,2) | x.chunk(5,2) | x.unbind(1)
x.diagonal() | x.diagonal(1,1,2) | x.unfold(2,2,1) | x.as_strided((2,2),(1,2),1) | x.movedim(0,2)
x.contiguous() | x.transpose(0,1).contiguous() | x.detach() | x.clone() | x.tensor_split(3,2)
x.tensor_split((1,2),2) | x.swapaxes(0,1) | x.view(5,5) | x.transpose(0,1).view(-1)
x.permute(0,1) | x.permute(0,1,1) | x.select(0,5) | x.ravel() | m.atleast_3d(x[0,0])
x.reshape(-1,0) | x.repeat(2,1,1) | x.repeat(2,2,1,1) | x.repeat(2) | x.tile((2,1))
x.repeat_interleave(2,1) | x.repeat_interleave(2) | x.flip(0,2) | x.flip(-1) | x.roll(1,0)
x.roll((1,-2),(0,2)) | x.roll(3) | x.rot90() | x.rot90(2,(1,2)) | x.rot90(3,(1,2)) | x.tril()
x.triu(1) | m.diag(x[0,0]) | m.diag(x[0]) | m.diag(x[0],1) | m.diag_embed(x) | m.trace(x[0])
m.diag_embed(x,1,0,2) | m.cat([x,x],1) | m.cat([x,x[:1]],0) | m.cat([x,x[:1]],1) | m.cat([])
m.stack([x,x],1) | m.stack([x,x[0]]) | m.hstack([x,x]) | m.vstack([x,x]) | m.dstack([x,x])
m.meshgrid(x[0,0],x[0,1],indexing="ij") | m.meshgrid(x[0,0],x[0,1],indexing="xy")
m.broadcast_tensors(x,x[0]) | m.broadcast_to(x,(2,2,3,4)) | m.kron(x[0],x[1]) | m.diff(x)
m.diff(x,dim=0) | m.column_stack([x[0],x[1]]) | m.cartesian_prod(x[0,0],x[0,1]) | m.fliplr(x)
x.topk(2) | x.topk(2,1,largest=False) | x.topk(9) | x.kthvalue(2) | x.sort(1,descending=True)
m.where(x>0,x,0.) | m.where(x>0,x,-x) | x.where(x>0,-x) | x.clamp(-1,1) | x.clamp(min=0)
x.clamp(max=x.mean()) | x.clamp() | m.lerp(x,x*2,0.3) | m.lerp(x,x*2,x) | x.round(decimals=2)
m.addcmul(x,x,x,value=2) | m.addcdiv(x,x,x+10,value=2) | m.nonzero(x>0) | m.argwhere(x>0)
m.nonzero(x>0,as_tuple=True) | x.masked_select(x>0) | x.masked_fill(x>0,1.5) | m.isclose(x,x)
m.allclose(x,x) | m.equal(x,x) | x.dist(x+1) | x**2 | x**3 | 2**x | x**0.5 | x.abs()**x | 1/x | 1-x
x%2 | -x | ~(x>0) | (x>0)&(x<1) | x.to(m.float64) | x.long() | x.bool() | x.half()
m.logical_xor(x>0,x<1) | m.histc(x.detach(),5,-2,2) | m.take(x,m.tensor([0,5])) | m.var_mean(x,1)
m.bucketize(x.detach(),m.tensor([-1.,0,1])) | m.std_mean(x,1) | m.var(x,unbiased=False)
x.std(1,correction=0) | m.sum(x,0,dtype=m.float64) | x.sum((0,2),keepdim=True) | x.size(1)
x.logsumexp(1) | x.logsumexp((0,2),keepdim=True) | x.norm() | m.norm(x,1) | m.norm(x,3.5,dim=1)
m.norm(x,float("inf"),dim=0,keepdim=True) | x.prod(1) | x.numel() | x.stride() | m.eye(3)
m.linspace(0,1,5) | m.arange(1,2,0.25) | m.arange(5) | m.arange(5,1,-2) | m.full((2,),3)
m.full((2,),3.) | m.zeros(2,3,dtype=m.int32) | m.tril_indices(3,3) | m.logspace(0,2,3)
x.new_zeros(2) | m.ones_like(x) | x.expand_as(x) | m.aminmax(x) | m.aminmax(x,dim=1)
"""
EXPRESSIONS = [e.strip() for line in METHODS.strip().splitlines() for e in line.split("|")]
PRODUCTS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((7, 1, 2, 3), (5, 3, 4)), ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)), ((2, 3), (2, 3)), ((), (3,)), ((0, 3), (3, 4)), ((2, 0), (0, 4)),
    ((5, 2, 0), (0, 4)), ((5, 2, 3), (4, 3, 4)),
]  # fmt: skip
EINSUMS = [
    ("ij,jk", (2, 3), (3, 4)), ("ij->ji", (2, 3)), ("ii", (3, 3)), ("ii->i", (3, 3)),
    ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)), ("i,j->ij", (2,), (3,)), ("ij,ij->", (2, 3), (2, 3)),
    ("...ij,...jk->...ik", (5, 2, 3), (3, 4)), ("ijk->k", (2, 3, 4)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)), ("ij,kj,lk->il", (2, 3), (4, 3), (5, 4)),
]  # fmt: skip
ADDED = {
    "addmm": ((2, 4), (2, 3), (3, 4)),
    "addmv": ((2,), (2, 3), (3,)),
    "addr": ((3, 4), (3,), (4,)),
    "baddbmm": ((5, 2, 4), (5, 2, 3), (5, 3, 4)),
    "addbmm": ((2, 4), (5, 2, 3), (5, 3, 4)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shape", [(3, 4), (), (0, 2)], ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, shape: tuple[int, ...]) -> None:
    compare(lambda m, x: getattr(m, name)(x), shape)
    compare(lambda m, x: getattr(m, name)(x), shape, dtype="int64")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name: str, arguments: str) -> None:
    def call(m: Any, x: Any) -> Any:
        return eval(f"m.{name}(x, {arguments})")

    for shape in [(2, 3, 4), (), (0, 3)]:
        if shape == (0, 3) and (name == "median" or arguments in ("5", "dim=2")):
            continue  # PyTorch does not look at the dimension, or disagrees with itself
        compare(call, shape)
    compare(call, (4, 3, 3), dtype="int32")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expression(expression: str) -> None:
    compare(lambda m, x: eval(expression), (2, 3, 4))


@pytest.mark.parametrize(("a", "b"), PRODUCTS)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    compare(lambda m, x, y: x @ y, a, b)


@pytest.mark.parametrize("case", EINSUMS, ids=lambda c: c[0])
def test_einsum(case: tuple[Any, ...]) -> None:
    equation, *shapes = case
    compare(lambda m, *xs: m.einsum(equation, *xs), *shapes)


@pytest.mark.parametrize("name", ADDED)
def test_added_products(name: str) -> None:
    compare(lambda m, *xs: getattr(m, name)(*xs, beta=0.5, alpha=2), *ADDED[name])
    compare(lambda m, *xs: getattr(m, name)(*xs), *ADDED[name])
