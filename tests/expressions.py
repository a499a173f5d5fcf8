"""Expressions over `m`, the module, and `x`, a float32 tensor of shape [2, 3, 4].

Parity tests evaluate them with smelt and with PyTorch, capture tests eagerly and compiled.
"""

from __future__ import annotations

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
