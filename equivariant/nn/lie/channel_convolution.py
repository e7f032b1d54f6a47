"""Convolution of each channel by itself, with a gradient that is fast on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from equivariant.shapes import Float

LARGE_KERNEL_FROM = 15
"""Taps from which convolutions of single channels want channels beside one another in memory:
measured on the CPU, there up to thirty times as fast; below it that order is the slower one."""


def convolve_channels(
    x: Float[Tensor, "batch channels height width"], weight: Float[Tensor, "channels 1 taps taps"]
) -> Float[Tensor, "batch channels height width"]:
    """Each channel with its own kernel of an odd number of taps, zeros outside the frame.

        y[b, c] = x[b, c] ⋆ w[c]

    What ``conv2d(x, weight, padding=taps // 2, groups=channels)`` gives. PyTorch's gradient of
    that takes several times as long on the CPU as the two convolutions which it amounts to:

        ∂x[b, c] = ∂y[b, c] ⋆ (w[c] turned by half a turn),   ∂w[c] = Σ_b x[b, c] ⋆ ∂y[b, c]

    Derivatives of any order and in forward mode exist.

    Args:
        x: Shape (batch, channels, height, width).
        weight: Shape (channels, 1, taps, taps).

    Returns:
        Shape of x.

    Example:
        >>> spike = torch.zeros(1, 1, 3, 3)
        >>> spike[..., 1, 1] = 1.0
        >>> convolve_channels(spike, torch.arange(9.0).reshape(1, 1, 3, 3))[0, 0]
        tensor([[8., 7., 6.],
                [5., 4., 3.],
                [2., 1., 0.]])
    """
    y: Tensor = _ChannelConvolution.apply(x, weight)  # type: ignore[no-untyped-call]
    return y


class _ChannelConvolution(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return apply_kernels(x, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        need_x, need_weight = ctx.needs_input_grad
        by_x = convolve_channels(grad, weight.flip(2, 3)) if need_x else None
        by_weight = correlate_channels(x, grad, weight.shape[-1]) if need_weight else None
        return by_x, by_weight

    @staticmethod
    def jvp(ctx: Any, x_change: Tensor | None, weight_change: Tensor | None) -> Tensor:
        x, weight = ctx.saved_tensors
        changes = [] if x_change is None else [apply_kernels(x_change, weight)]
        changes += [] if weight_change is None else [apply_kernels(x, weight_change)]
        return changes[0] if len(changes) == 1 else changes[0] + changes[1]


def apply_kernels(x: Tensor, weight: Tensor) -> Tensor:
    """What :func:`convolve_channels` gives, with PyTorch's gradient."""
    taps = weight.shape[-1]
    y = conv2d(_ordered(x, taps), weight, padding=taps // 2, groups=x.shape[1])
    return y.contiguous()


def correlate_channels(x: Tensor, grad: Tensor, taps: int) -> Tensor:
    """Σ_b x[b, c] ⋆ ∂y[b, c], the gradient of the kernels, shape (channels, 1, taps, taps).

    One picture at a time, whose channels fit the cache; each channel of ∂y is the kernel.
    """
    channels = x.shape[1]
    found = x.new_zeros(channels, 1, taps, taps)
    for one, kernels in zip(x.split(1), grad.unbind(0), strict=False):
        step = conv2d(_ordered(one, taps), kernels.unsqueeze(1), padding=taps // 2, groups=channels)
        found = found + step.reshape(channels, 1, taps, taps)
    return found


def _ordered(x: Tensor, taps: int) -> Tensor:
    """The same tensor in the order in memory that is fast for kernels of so many taps.

    Channels beside one another are written as two permutations since ``torch.vmap`` does not
    know memory formats.
    """
    if taps < LARGE_KERNEL_FROM:
        return x.contiguous()
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
