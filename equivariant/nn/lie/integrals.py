"""Integrals over space of a field against a kernel that each sample moves by its own element."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from equivariant.nn.lie.channel_convolution import convolve_channels
from equivariant.nn.lie.fields import CloudPlaces, PlaneGrid
from equivariant.nn.lie.kernels import PlaceKernel
from equivariant.nn.lie.samples import LieSamples
from equivariant.shapes import Float, Images

SUBPIXELS = 2
"""A kernel's value at a pixel is its mean over this many places along each axis, because moved
kernels can be narrower than the pixels."""


def tap_offsets(
    radius: float,
    samples: LieSamples,
    spacing: float,
    *,
    stride: int = 1,
    side: int | None = None,
) -> Float[Tensor, "taps taps subpixels 2"]:
    """Places of the pixels, and of points within each, that moved windows reach.

    Args:
        radius: Of the windows before they are moved.
        samples: What moves them.
        spacing: Of the pixels.
        stride: Distance of outputs, in pixels: where it is even, taps stand between pixels.
        side: The longer side of the frame in pixels: taps that would read nothing but its
            outside, from wherever in it, are left out. None keeps all.

    Returns:
        Offsets (x, y) from the output's place, float64, rows from top to bottom.
    """
    reach = radius * samples.reach / spacing + 0.5  # in pixels, with half a pixel's width
    if stride % 2:
        count = 2 * max(math.ceil(reach) - 1, 0) + 1
    else:
        count = 2 * max(math.ceil(reach - 0.5), 1)
    count = max(count, stride)  # zeros where windows are smaller than the stride
    if side is not None:
        count = min(count, 2 * side - stride % 2)
    parts = torch.arange(SUBPIXELS, dtype=torch.float64)
    fine = ((parts + 0.5) / SUBPIXELS - 0.5).to(samples.elements.device)
    at = torch.arange(count, dtype=torch.float64, device=fine.device) - (count - 1) / 2
    x = spacing * (at[:, None] + fine)  # taps, subpixels
    ones = torch.ones_like(x)
    horizontal = torch.einsum("ap,bq->abpq", ones, x)
    vertical = torch.einsum("ap,bq->abpq", -x, ones)
    return torch.stack([horizontal, vertical], -1).flatten(2, 3)


def plane_taps(
    kernel: PlaceKernel,
    samples: LieSamples,
    spacing: float,
    *,
    stride: int = 1,
    side: int | None = None,
) -> Float[Tensor, "samples taps taps outputs"]:
    """Kernels on the pixel grid, one for each sample.

        A_i[δ] = (spacing² / |det h_i|) k(h_i⁻¹ δ) / r²,   averaged over the pixel δ

    for all pixels δ that any of the moved windows reaches: nothing is cut off but what no place
    in a frame of ``side`` pixels can read. The factor turns
    sums over pixels into integrals with the invariant weight |det h_i|⁻¹; r² keeps it near 1.

    Args:
        kernel: k, with values of its own unit of length.
        samples: The h_i.
        spacing: Of the pixels read.
        stride: Distance of outputs in pixels read. The taps are centred between pixels where it
            is even, so that their number has the parity of the stride.
        side: Of the frame, see :func:`tap_offsets`.

    Returns:
        Shape (samples, taps, taps, outputs), rows from top to bottom; in the kernel's dtype.
    """
    offsets = tap_offsets(kernel.radius, samples, spacing, stride=stride, side=side)
    moved = torch.einsum("sij,abpj->sabpi", samples.inverses, offsets)
    dtype = kernel.network.last.weight.dtype
    values: Tensor = kernel(moved.to(dtype)).mean(3)
    factor = (spacing / kernel.radius) ** 2 / samples.determinants
    return values * factor.to(values.dtype)[:, None, None, None]


def lift_image(
    images: Images, kernel: PlaceKernel, samples: LieSamples, *, outputs: int, stride: int
) -> Float[Tensor, "batch outputs samples rows columns"]:
    """∫ k_oc(h_i⁻¹ (y - x)) f_c(y) dy / |det h_i| at every ``stride``-th pixel x.

    The image is 0 outside its frame. The kernel gives outputs times channels numbers.
    """
    channels = images.shape[1]
    spacing = PlaneGrid.of_image((images.shape[2], images.shape[3])).spacing
    side = max(images.shape[2:])
    taps = plane_taps(kernel, samples, spacing, stride=stride, side=side)
    count, size = taps.shape[0], taps.shape[1]
    weight = taps.unflatten(-1, (outputs, channels)).permute(3, 0, 4, 1, 2)
    weight = weight.reshape(outputs * count, channels, size, size).to(images.dtype)
    y: Tensor = conv2d(images, weight, stride=stride, padding=(size - stride) // 2)
    return y.reshape(len(y), outputs, count, *y.shape[2:])


def plane_kernels(
    kernel: PlaceKernel, samples: LieSamples, places: PlaneGrid
) -> Float[Tensor, "outputs_samples 1 taps taps"]:
    """Kernels of ∫ k_c(h_i⁻¹ (y - x)) F_c(y, h_i) dy / |det h_i|, one for each channel and sample.

    Shape (outputs · samples, 1, taps, taps): of a convolution of each channel by itself.
    """
    taps = plane_taps(kernel, samples, places.spacing, side=max(places.size))
    return taps.permute(3, 0, 1, 2).reshape(-1, 1, *taps.shape[1:3])


def convolve_places(
    values: Float[Tensor, "batch channels samples ..."],
    kernel: PlaceKernel,
    samples: LieSamples,
    places: PlaneGrid | CloudPlaces,
) -> Float[Tensor, "batch channels samples ..."]:
    """∫ k_c(h_i⁻¹ (y - x)) F_c(y, h_i) dy / |det h_i|: each channel and sample by itself.

    On clouds the mean over points in the moved window, see :func:`cloud_weights`.
    """
    if isinstance(places, PlaneGrid):
        kernels = plane_kernels(kernel, samples, places).to(values.dtype)
        return convolve_channels(values.flatten(1, 2), kernels).reshape(values.shape)
    weights = cloud_weights(kernel, samples, read=places, written=places)
    return torch.einsum("bsxyt,btsy->btsx", weights.to(values.dtype), values)


def cloud_weights(
    kernel: PlaceKernel,
    samples: LieSamples,
    *,
    read: CloudPlaces,
    written: CloudPlaces,
) -> Float[Tensor, "batch samples written read outputs"]:
    """k(h_i⁻¹ (y - x)) of all pairs of places, divided by the sum of windows at x.

    The division makes the sum over points an average, whatever their number and density.
    """
    dtype = kernel.network.last.weight.dtype
    apart = read.positions[:, None] - written.positions[:, :, None]
    inverses = samples.inverses.to(apart.dtype)
    moved = torch.einsum("sij,bxyj->bsxyi", inverses, apart).to(dtype)
    window = (1 - (moved / kernel.radius).square().sum(-1)).clamp(min=0) ** 3
    total = window.sum(-1, keepdim=True)
    total = torch.where(total > 0, total, 1.0)
    found: Tensor = kernel(moved) / total[..., None]
    return found
