"""Products of matrices and vectors, and their sums over named dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smelt.dispatch import apply
from smelt.functions import arithmetic, operands, reductions, views
from smelt.functions.operands import Number, labelled, one_dim, op
from smelt.ir import promotion
from smelt.ir.errors import ArgumentError, DTypeError, TypeInferenceError
from smelt.ir.types import TensorType

if TYPE_CHECKING:
    from smelt.tensor import Tensor

_MATMUL = op("matmul")


def _shown(x: Tensor) -> str:
    return str(TensorType(x.dtype, tuple(x._sizes)))


def _same_dtype(function: str, *tensors: Tensor) -> None:
    for x in tensors:
        operands.expect_tensor(x, function, "input")
    if any(x.dtype is not tensors[0].dtype for x in tensors):
        raise DTypeError(
            f"{function}: expected all operands to have the same dtype, but they are "
            + " and ".join(_shown(x) for x in tensors)
        )


def _ranks(function: str, expected: Sequence[int], *tensors: Tensor) -> None:
    _same_dtype(function, *tensors)
    if [x.dim() for x in tensors] != list(expected):
        wanted = " and ".join(f"{n}-D" for n in expected)
        raise TypeInferenceError(
            f"{function}: expects {wanted} tensors, but they are "
            + " and ".join(_shown(x) for x in tensors)
        )


def _product(function: str, a: Tensor, b: Tensor) -> Tensor:
    if a._sizes[-1] != b._sizes[-2]:
        raise TypeInferenceError(
            f"{function}: mat1 and mat2 shapes cannot be multiplied: {_shown(a)} and {_shown(b)}: "
            f"{a._sizes[-1]} columns meet {b._sizes[-2]} rows"
        )
    return labelled(apply(_MATMUL, (a, b)), "mm" if a.dim() == 2 else "bmm")


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Return the matrix product: of vectors, matrices, or batches of them, which broadcast."""
    _same_dtype("matmul", input, other)
    a, b = input, other
    m, n = a.dim(), b.dim()
    if m == 0 or n == 0:
        raise TypeInferenceError(
            "matmul: both arguments need at least 1 dimension, but they are "
            f"{_shown(a)} and {_shown(b)}"
        )
    if m == 2 and n == 2:
        return _product("matmul", a, b)
    a = views.unsqueeze(a, 0) if m == 1 else a
    b = views.unsqueeze(b, 1) if n == 1 else b
    if a.dim() > 2 and b.dim() == 2:
        # One product of all rows at once, instead of a batch of products with one matrix.
        if a._sizes[-1] != b._sizes[0]:
            return _product("matmul", a, b)
        rows = views.reshape(a, (a.numel() // max(a._sizes[-1], 1), a._sizes[-1]))
        if a._sizes[-1] == 0:
            rows = views.reshape(a, (_count(a._sizes[:-1]), 0))
        shape = (*a._sizes[:-1], b._sizes[1])
        result = views.reshape(_product("matmul", rows, b), shape)
    else:
        batch = promotion.broadcast(a._sizes[:-2], b._sizes[:-2], op="matmul")
        if a._sizes[-1] == b._sizes[-2]:
            a = views.expand(a, (*batch, *a._sizes[-2:])) if a._sizes[:-2] != batch else a
            b = views.expand(b, (*batch, *b._sizes[-2:])) if b._sizes[:-2] != batch else b
        result = _product("matmul", a, b)
    if m == 1:
        result = views.squeeze(result, -2)
    return views.squeeze(result, -1) if n == 1 else result


def _count(sizes: Sequence[int]) -> int:
    total = 1
    for n in sizes:
        total *= n
    return total


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the product of two matrices."""
    _ranks("mm", (2, 2), input, mat2)
    return _product("mm", input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the products of two batches of matrices."""
    _ranks("bmm", (3, 3), input, mat2)
    if input._sizes[0] != mat2._sizes[0]:
        raise TypeInferenceError(f"bmm: batches differ in size: {_shown(input)} and {_shown(mat2)}")
    return _product("bmm", input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Return the product of a matrix and a vector."""
    _ranks("mv", (2, 1), input, vec)
    return labelled(matmul(input, vec), "mv")


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Return the inner product of two vectors."""
    _ranks("dot", (1, 1), input, tensor)
    if input._sizes != tensor._sizes:
        raise TypeInferenceError(
            f"dot: vectors differ in length: {_shown(input)} and {_shown(tensor)}"
        )
    return labelled(matmul(input, tensor), "dot")


def inner(input: Tensor, other: Tensor) -> Tensor:
    """Return the sums of products over the last dimensions."""
    if not input.dim() or not other.dim():
        return arithmetic.mul(input, other)
    return tensordot(input, other, ([-1], [-1]))


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Return the matrix of all products of the elements of two vectors."""
    if input.dim() != 1 or vec2.dim() != 1:
        raise TypeInferenceError(
            f"outer: expects two vectors, but they are {_shown(input)} and {_shown(vec2)}"
        )
    return arithmetic.mul(views.unsqueeze(input, 1), views.unsqueeze(vec2, 0))


def _added(input: Tensor, product: Tensor, beta: Number, alpha: Number) -> Tensor:
    if alpha != 1:
        product = arithmetic.mul(product, alpha)
    if beta == 0:
        return product
    return arithmetic.add(product, input if beta == 1 else arithmetic.mul(input, beta))


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """Return beta * input + alpha * mat1 @ mat2."""
    return labelled(_added(input, mm(mat1, mat2), beta, alpha), "addmm")


def addmv(
    input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """Return beta * input + alpha * mat @ vec."""
    return labelled(_added(input, mv(mat, vec), beta, alpha), "addmv")


def addr(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """Return beta * input + alpha * outer(vec1, vec2)."""
    return labelled(_added(input, outer(vec1, vec2), beta, alpha), "addr")


def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """Return beta * input + alpha * batch1 @ batch2, by batch."""
    return labelled(_added(input, bmm(batch1, batch2), beta, alpha), "baddbmm")


def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1
) -> Tensor:
    """Return beta * input + alpha * the sum of batch1 @ batch2 over the batch."""
    return _added(input, reductions.sum(bmm(batch1, batch2), 0), beta, alpha)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Return the sums of products over `dims`: a number of dims, or lists of them for a and b."""
    if isinstance(dims, int):
        of_a = list(range(a.dim() - dims, a.dim()))
        of_b = list(range(dims))
    else:
        of_a = [one_dim(d, a.dim(), "tensordot") for d in dims[0]]
        of_b = [one_dim(d, b.dim(), "tensordot") for d in dims[1]]
    if [a._sizes[d] for d in of_a] != [b._sizes[d] for d in of_b]:
        raise TypeInferenceError(
            f"tensordot: contracted dims differ in size: dims {of_a} of {_shown(a)} and "
            f"dims {of_b} of {_shown(b)}"
        )
    free_a = [d for d in range(a.dim()) if d not in of_a]
    free_b = [d for d in range(b.dim()) if d not in of_b]
    rows, columns = [a._sizes[d] for d in free_a], [b._sizes[d] for d in free_b]
    inner_size = _count([a._sizes[d] for d in of_a])
    left = views.reshape(views.permute(a, free_a + of_a), (_count(rows), inner_size))
    right = views.reshape(views.permute(b, of_b + free_b), (inner_size, _count(columns)))
    return views.reshape(matmul(left, right), (*rows, *columns))


def einsum(equation: str, *arguments: Any) -> Tensor:
    """Return the sum of products over labelled dimensions, as `"bij,bjk->bik"`.

    Operands are joined from left to right; a pair is brought to the form of a batched matrix
    product. `...` stands for dimensions that broadcast; a label repeated in one operand is its
    diagonal.
    """
    if len(arguments) == 1 and isinstance(arguments[0], (list, tuple)):
        arguments = tuple(arguments[0])
    terms, output, tensors = _labelled(equation.replace(" ", ""), list(arguments))
    labels, result = _diagonals(terms[0], tensors[0])
    for position in range(1, len(tensors)):
        later = set(output).union(*terms[position + 1 :])
        other, tensor = _diagonals(terms[position], tensors[position])
        labels, result = _pair(labels, result, other, tensor, later)
    gone = [d for d, label in enumerate(labels) if label not in output]
    if gone:
        result = reductions.sum(result, gone)
        labels = [label for label in labels if label in output]
    return views.permute(result, [labels.index(label) for label in output])


def _labelled(
    equation: str, tensors: list[Tensor]
) -> tuple[list[list[str]], list[str], list[Tensor]]:
    left, arrow, right = equation.partition("->")
    texts = left.split(",")
    if len(texts) != len(tensors):
        raise ArgumentError(
            f"einsum: {equation!r} names {len(texts)} operands, but {len(tensors)} are given"
        )
    spread = [
        x.dim() - len(text.replace("...", "")) if "..." in text else 0
        for text, x in zip(texts, tensors)
    ]
    most = max(spread, default=0)
    terms: list[list[str]] = []
    sizes: dict[str, int] = {}
    for text, x, count in zip(texts, tensors, spread):
        before, dots, after = text.partition("...")
        middle = [f"...{k}" for k in range(most - count, most)] if dots else []
        labels = [*before, *middle, *after]
        if len(labels) != x.dim() or count < 0:
            raise ArgumentError(
                f"einsum: {text!r} names {len(labels)} dimensions of an operand of shape "
                f"{list(x._sizes)}"
            )
        for label, size in zip(labels, x._sizes):
            if sizes.setdefault(label, size) not in (size, 1) and size != 1:
                raise TypeInferenceError(
                    f"einsum: {label!r} has sizes {sizes[label]} and {size} in {equation!r}"
                )
            sizes[label] = max(sizes[label], size)
        terms.append(labels)
    if arrow:
        before, dots, after = right.partition("...")
        output = [*before, *([f"...{k}" for k in range(most)] if dots else []), *after]
    else:
        every = [label for labels in terms for label in labels]
        single = sorted(x for x in set(every) if len(x) == 1 and every.count(x) == 1)
        output = [*[f"...{k}" for k in range(most)], *single]
    for label in output:
        if label not in sizes or output.count(label) > 1:
            raise ArgumentError(
                f"einsum: the output of {equation!r} must name labels of operands, each once"
            )
    widened = [
        views.expand(x, [sizes[label] for label in labels]) for labels, x in zip(terms, tensors)
    ]
    return terms, output, widened


def _diagonals(labels: list[str], x: Tensor) -> tuple[list[str], Tensor]:
    labels = list(labels)
    for label in sorted(set(labels)):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = views.diagonal(x, 0, first, second)
            labels = [m for d, m in enumerate(labels) if d not in (first, second)] + [label]
    return labels, x


def _pair(
    left: list[str], a: Tensor, right: list[str], b: Tensor, later: set[str]
) -> tuple[list[str], Tensor]:
    """Join two operands, summing over labels that neither the output nor later operands name."""
    lone_a = [d for d, x in enumerate(left) if x not in right and x not in later]
    lone_b = [d for d, x in enumerate(right) if x not in left and x not in later]
    if lone_a:
        a, left = reductions.sum(a, lone_a), [x for d, x in enumerate(left) if d not in lone_a]
    if lone_b:
        b, right = reductions.sum(b, lone_b), [x for d, x in enumerate(right) if d not in lone_b]
    shared = [x for x in left if x in right]
    batch = [x for x in shared if x in later]
    summed = [x for x in shared if x not in later]
    rows = [x for x in left if x not in shared]
    columns = [x for x in right if x not in shared]
    size = dict(zip(left, a._sizes)) | dict(zip(right, b._sizes))

    def total(labels: list[str]) -> int:
        return _count([size[x] for x in labels])

    a = views.permute(a, [left.index(x) for x in batch + rows + summed])
    b = views.permute(b, [right.index(x) for x in batch + summed + columns])
    if not summed:
        a = views.reshape(a, (total(batch), total(rows), 1))
        b = views.reshape(b, (total(batch), 1, total(columns)))
        product = arithmetic.mul(a, b)
    else:
        a = views.reshape(a, (total(batch), total(rows), total(summed)))
        b = views.reshape(b, (total(batch), total(summed), total(columns)))
        product = matmul(a, b)
    labels = batch + rows + columns
    return labels, views.reshape(product, [size[x] for x in labels])
