"""Lie layers computed slowly: loops over samples, places and subpixels, straight from formulas."""

import torch

from equivariant.groups import GL, SL, SO2, SO3, ScaledRotations, TruncatedHaarSampler
from equivariant.groups.reflections import O2
from equivariant.nn.lie import LieField, LieSamples
from equivariant.nn.lie.fields import PlaneGrid
from equivariant.nn.lie.integrals import SUBPIXELS

PLANE = (SO2(), O2(), ScaledRotations(2), SL(2), GL(2))
SPACE = (SO3(), SL(3), GL(3))


def draw(group, count, seed=0, radius=0.3, method="independent"):
    law = TruncatedHaarSampler(group, radius, method=method)
    return LieSamples.draw(law, count, generator=torch.Generator().manual_seed(seed))


def moved(samples, a):
    """The samples a h_i with the same weights."""
    return LieSamples(samples.group, a @ samples.elements, samples.weights)


def pixel_places(size, spacing):
    """World positions of pixel centres, shape (height, width, 2)."""
    height, width = size
    x = (torch.arange(width, dtype=torch.float64) - (width - 1) / 2) * spacing
    y = ((height - 1) / 2 - torch.arange(height, dtype=torch.float64)) * spacing
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)


def plane_integral(kernel, inverse, determinant, values, read, spacing, x):
    """∫ k(h⁻¹ (y - x)) f(y) dy / |det h| / r² with f constant on each pixel; f (places, ...)."""
    total = 0.0
    offset = ((torch.arange(SUBPIXELS, dtype=torch.float64) + 0.5) / SUBPIXELS - 0.5) * spacing
    for place, value in zip(read.reshape(-1, 2), values, strict=True):
        weight = 0.0
        for dx in offset:
            for dy in offset:
                y = place + torch.stack([dx, dy]) - x
                weight = weight + kernel((inverse @ y)[None])[0]
        weight = weight / SUBPIXELS**2
        total = total + weight * value
    return total * spacing**2 / kernel.radius**2 / determinant


def mixing(layer, samples, outputs):
    """w_j ω(u_ij) b(u_ij) / Σ_j w_j ω(u_ij), one pair at a time."""
    rows = []
    for h in outputs.elements:
        steps = [torch.linalg.inv(h) @ other for other in samples.elements]
        windows = [w * layer.coordinates.window(u) for w, u in
                   zip(samples.weights, steps, strict=True)]  # fmt: skip
        total = sum(windows)
        rows.append([w / total * layer.group_kernel(layer.coordinates(u)) for w, u in
                     zip(windows, steps, strict=True)])  # fmt: skip
    return torch.stack([torch.stack(row) for row in rows])  # outputs, samples, terms


def convolved(layer, field, outputs):
    """A separable group convolution at every output, by loops."""
    weights = mixing(layer, field.samples, outputs)
    batch = field.values.shape[0]
    found = torch.zeros(batch, layer.outputs, len(outputs), *field.places.shape).double()
    rank, inputs = layer.rank, layer.inputs
    for i, h in enumerate(outputs.elements):
        inverse, determinant = torch.linalg.inv(h), torch.linalg.det(h).abs()
        for b in range(batch):
            mixed = torch.zeros(rank * inputs, *field.places.shape).double()
            for t in range(rank * inputs):
                for j in range(len(field.samples)):
                    mixed[t] = mixed[t] + weights[i, j, t] * field.values[b, t % inputs, j]
            found[b, :, i] = _space(layer, field, b, mixed, inverse, determinant)
    return found


def _space(layer, field, b, mixed, inverse, determinant):
    terms = mixed.flatten(1).T
    out = []
    if isinstance(field.places, PlaneGrid):
        places = pixel_places(field.places.size, field.places.spacing)
        for x in places.reshape(-1, 2):
            out.append(
                plane_integral(
                    layer.place_kernel, inverse, determinant, terms, places,
                    field.places.spacing, x,
                )
            )  # fmt: skip
    else:
        points = field.places.positions[b].double()
        for x in points:
            out.append(cloud_average(layer.place_kernel, inverse, points, terms, x))
    summed = torch.stack(out).T  # terms, places
    return (layer.channels.double() @ summed).reshape(-1, *field.places.shape)


def cloud_average(kernel, inverse, points, values, x):
    """Σ_y ω k(h⁻¹ (y - x)) f(y) / Σ_y ω: the kernel holds its own window."""
    total, windows = 0.0, 0.0
    for y, value in zip(points, values, strict=True):
        unit = inverse @ (y - x)
        windows = windows + (1 - (unit / kernel.radius).square().sum()).clamp(min=0) ** 3
        total = total + kernel(unit[None])[0] * value
    return total / windows


def field_on_grid(group, *, channels, samples, size=(5, 4), batch=2, seed=0):
    drawn = draw(group, samples, seed)
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(batch, channels, samples, *size, generator=generator).double()
    return LieField(values, drawn, PlaneGrid(size, 0.25))
