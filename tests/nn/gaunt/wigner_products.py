"""The oracle of the layer's tests: e3nn's tensor product over the same couplings, path by path."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from e3nn.o3 import Irreps, TensorProduct

from equivariant.nn.gaunt import gaunt_constant, poisson_constant
from equivariant.nn.gaunt.product.path_norm import degree_factors

SCALES = {
    "integral": lambda _: 1.0,
    "component": lambda _: math.sqrt(4 * math.pi),
    "norm": lambda n: math.sqrt(4 * math.pi / (2 * n + 1)),
}


def draw(*shape, seed=0, dtype=torch.float64):
    """Normal numbers, drawn in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def places(layer):
    """Couplings of a layer as places of irreps, in lexical order, by looking at all there are."""
    first, second, third = ([irrep for _, irrep in o] for o in operands(layer))
    return [
        (i, j, k)
        for i, one in enumerate(first)
        for j, other in enumerate(second)
        for k, out in enumerate(third)
        if abs(one.l - other.l) <= out.l <= one.l + other.l
        and out.p == one.p * other.p
        and (layer.parity == "full" or (one.l + other.l + out.l) % 2 == 0)
    ]


def operands(layer):
    """Irreps of both operands and of the result."""
    return layer.irreps_in1, layer.irreps_in2, layer.irreps_out


def constant(layer, degrees):
    """What multiplies Wigner's symbol of unit norm in a coupling."""
    kind = "odd" if sum(degrees) % 2 else "even"
    value = (gaunt_constant if kind == "even" else poisson_constant)(*degrees)
    for degree in degrees:
        value *= SCALES[layer.normalization](degree)
    if layer.normalization != "integral":
        value /= 4 * math.pi
    largest = [max(irrep.l for _, irrep in irreps) for irreps in operands(layer)]
    factors = degree_factors(
        *largest, kind=kind, normalization=layer.normalization, path_norm=layer.path_norm
    )
    return value * math.prod(f[degree] for f, degree in zip(factors, degrees, strict=True))


def peer(layer):
    """e3nn's product with the layer's couplings and constants, and weights for each of them."""
    instructions = []
    for path in places(layer):
        degrees = [int(o[at].ir.l) for o, at in zip(operands(layer), path, strict=True)]
        instructions.append((*path, constant(layer, degrees) ** 2))
    return _product(*map(str, operands(layer)), layer.mode, tuple(instructions))


@lru_cache(maxsize=64)
def _product(first, second, third, mode, instructions):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # of e3nn's constants, which no later cast makes exact
    try:
        return TensorProduct(
            first,
            second,
            third,
            [(i, j, k, mode, True, squared) for i, j, k, squared in instructions],
            irrep_normalization="none",
            path_normalization="none",
            internal_weights=False,
            shared_weights=False,
            compile_right=False,
        )
    finally:
        torch.set_default_dtype(before)


def reorder(x, irreps, source, target):
    """A feature from one layout in another."""
    if source == target:
        return x
    blocks = []
    for (count, irrep), rows in zip(Irreps(irreps), Irreps(irreps).slices(), strict=True):
        shape = (count, irrep.dim) if source == "mul_ir" else (irrep.dim, count)
        blocks.append(x[..., rows].unflatten(-1, shape).mT.flatten(-2))
    return torch.cat(blocks, -1)


def expected(layer, x1, x2, weight):
    """What the layer must return; weights are those of paths, shared or for each entry.

    Args:
        layer: Whose couplings, mode and layout are taken.
        x1: In the layer's layout.
        x2: In the layer's layout.
        weight: Shape (..., couplings times channels).

    Returns:
        In the layer's layout.
    """
    first, second, third = operands(layer)
    lead = torch.broadcast_shapes(x1.shape[:-1], x2.shape[:-1], weight.shape[:-1])
    rows = [
        reorder(x1, first, layer.layout, "mul_ir"),
        reorder(x2, second, layer.layout, "mul_ir"),
        weight,
    ]
    rows = [row.expand(*lead, row.shape[-1]).reshape(lead.numel(), row.shape[-1]) for row in rows]
    result = peer(layer)(*rows).reshape(*lead, third.dim)
    return reorder(result, third, "mul_ir", layer.layout)


def paths_of_degrees(layer, weight):
    """Weights for each path, from one per channel and irrep of both operands and the result."""
    count = layer.multiplicity
    sizes = [sum(mul for mul, _ in irreps) for irreps in operands(layer)]
    first, second, third = (part.unflatten(-1, (-1, n)) for part, n in zip(
        weight.split(sizes, -1), (count, sizes[1] // len(layer.irreps_in2), count), strict=True
    ))  # fmt: skip
    each = [first[..., i, :] * second[..., j, :] * third[..., k, :] for i, j, k in places(layer)]
    return torch.cat(each, -1)


def close(value, other, tolerance=1e-12):
    """Equal up to rounding, relative to the largest number; both may be tuples."""
    if isinstance(value, tuple):
        for one, two in zip(value, other, strict=True):
            close(one, two, tolerance)
        return
    largest = float(other.detach().abs().max()) if other.numel() else 0.0
    torch.testing.assert_close(value.to(other.dtype), other, rtol=0, atol=tolerance * largest)
