"""The three steps of a separable group convolution on the plane, one picture at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from equivariant.nn.lie.channel_convolution import apply_kernels, correlate_channels
from equivariant.shapes import Float

PART_NUMBERS = 2**18
"""Size of the fields between the steps that are computed at once: a megabyte in float32."""

FEWEST_CHANNELS = 32
"""Input channels that are computed at once, at least."""


def convolve_separably(
    values: Float[Tensor, "batch inputs samples height width"],
    mixing: Float[Tensor, "inputs rank written samples"],
    kernels: Float[Tensor, "inputs_rank_written 1 taps taps"],
    channels: Float[Tensor, "outputs inputs_rank"],
) -> Float[Tensor, "batch outputs written height width"]:
    """Mix samples, convolve in space, mix channels, keeping only the input for the gradient.

        mix        M_cr(y, i) = Σ_j mixing_crij F_c(y, j)
        space      S_cr(x, i) = (M_cr(·, i) ⋆ kernels_cri)(x),   zeros outside the frame
        channels   y_o(x, i)  = Σ_cr channels_ocr S_cr(x, i)

    M and S are as large as the input, times the rank. They are computed for a few pictures or
    channels at a time, so that they stay in the processor's cache, and again for the gradient,
    so that memory holds the input and the output alone. Derivatives of any order and in forward
    mode exist.

    Args:
        values: F, shape (batch, inputs, samples, height, width).
        mixing: Shape (inputs, rank, written samples, samples).
        kernels: Shape (inputs · rank · written samples, 1, taps, taps), taps odd.
        channels: Shape (outputs, inputs · rank).

    Returns:
        Shape (batch, outputs, written samples, height, width).

    Example:
        >>> F = torch.ones(1, 2, 3, 4, 4)
        >>> y = convolve_separably(
        ...     F, torch.full((2, 1, 5, 3), 1 / 3), torch.ones(10, 1, 1, 1), torch.ones(6, 2)
        ... )
        >>> y.shape, bool(torch.allclose(y, torch.tensor(2.0)))
        (torch.Size([1, 6, 5, 4, 4]), True)
    """
    y: Tensor = _SeparableConvolution.apply(values, mixing, kernels, channels)  # type: ignore[no-untyped-call]
    return y


class _SeparableConvolution(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, mixing: Tensor, kernels: Tensor, channels: Tensor) -> Tensor:
        return _steps(values, mixing, kernels, channels)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        values, mixing, kernels, channels = ctx.saved_tensors
        pictures, parts = _parts(values, mixing, kernels, channels)
        weights = [part.gradients() for part in parts]
        by_values = None
        for start in range(0, max(len(values), 1), pictures):
            some, change = (x[start : start + pictures] for x in (values, grad))
            by_some = []
            for number, part in enumerate(parts):
                by_read, step = part.pull_back(some[:, part.inputs], change)
                by_some.append(by_read)
                weights[number] = tuple(a + b for a, b in zip(weights[number], step, strict=True))
            by_values = _placed(torch.cat(by_some, 1), by_values, start, len(values))
        joint, by_kernels, by_channels = zip(*weights, strict=True)
        by_mixing = torch.cat(joint).reshape(mixing.shape)
        return by_values, by_mixing, torch.cat(by_kernels), torch.cat(by_channels, 1)

    @staticmethod
    def jvp(ctx: Any, *changes: Tensor | None) -> Tensor:
        # Linear in each of the four: the sum of the maps with one of them replaced.
        terms = []
        for place, change in enumerate(changes):
            if change is not None:
                given = list(ctx.saved_tensors)
                given[place] = change
                terms.append(_steps(*given))
        return torch.stack(terms).sum(0)


def _steps(values: Tensor, mixing: Tensor, kernels: Tensor, channels: Tensor) -> Tensor:
    size = (len(channels), mixing.shape[2], *values.shape[3:])
    pictures, parts = _parts(values, mixing, kernels, channels)
    found = None
    for start in range(0, max(len(values), 1), pictures):
        some = values[start : start + pictures]
        joined = parts[0].push(some[:, parts[0].inputs])
        for part in parts[1:]:
            joined = joined + part.push(some[:, part.inputs])
        found = _placed(joined.reshape(len(some), *size), found, start, len(values))
    return cast(Tensor, found)


@dataclass(frozen=True, eq=False)
class _Part:
    """Some of the input channels with their weights: what fits the processor's cache.

    Args:
        inputs: Which channels.
        joint: Shape (inputs, rank · written, samples).
        kernels: Shape (inputs · rank · written, 1, taps, taps).
        channels: Shape (outputs, inputs · rank).
    """

    inputs: slice
    joint: Tensor
    kernels: Tensor
    channels: Tensor

    def push(self, some: Tensor) -> Tensor:
        """What these channels add to the outputs, (pictures, outputs, written · places)."""
        return _on_each(self.channels, self._by_term(apply_kernels(self._mix(some), self.kernels)))

    def pull_back(self, some: Tensor, change: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Gradients of these channels of some pictures, and of the three weights."""
        mixed = self._mix(some)
        moved = self._by_term(apply_kernels(mixed, self.kernels))
        flat = change.flatten(2)
        by_channels = (flat @ moved.transpose(1, 2)).sum(0)
        by_moved = _on_each(self.channels.T, flat).reshape(mixed.shape)
        by_kernels = correlate_channels(mixed, by_moved, self.kernels.shape[-1])
        by_mixed = _by_channel(
            apply_kernels(by_moved, self.kernels.flip(2, 3)).unflatten(1, self.joint.shape[:2])
        )
        by_joint = by_mixed @ _by_channel(some).transpose(1, 2)
        by_read = self.joint.transpose(1, 2) @ by_mixed
        return _by_picture(by_read, some), (by_joint, by_kernels, by_channels)

    def gradients(self) -> tuple[Tensor, ...]:
        """Zeros like the three weights."""
        return tuple(torch.zeros_like(w) for w in (self.joint, self.kernels, self.channels))

    def _by_term(self, moved: Tensor) -> Tensor:
        """Shape (pictures, inputs · rank, written · places)."""
        found: Tensor = moved.unflatten(1, (self.channels.shape[1], -1))
        return found.flatten(2)

    def _mix(self, some: Tensor) -> Tensor:
        """M, shape (pictures, inputs · rank · written, height, width)."""
        return _by_picture(self.joint @ _by_channel(some), some).flatten(1, 2)


def _on_each(matrix: Tensor, some: Tensor) -> Tensor:
    """A matrix times each of some; ``matrix @ some`` would copy them to put the pictures last."""
    return torch.bmm(matrix.expand(len(some), -1, -1), some)


def _by_channel(some: Tensor) -> Tensor:
    """Shape (inputs, samples, pictures · places) of (pictures, inputs, samples, *places)."""
    return some.permute(1, 2, 0, 3, 4).flatten(2)


def _by_picture(found: Tensor, some: Tensor) -> Tensor:
    """The way back, for any number of samples."""
    split: Tensor = found.unflatten(2, (len(some), *some.shape[3:]))
    return split.permute(2, 0, 1, 3, 4)


def _parts(
    values: Tensor, mixing: Tensor, kernels: Tensor, channels: Tensor
) -> tuple[int, list[_Part]]:
    """How many pictures go together, and the channels that do."""
    inputs, rank, written = mixing.shape[:3]
    numbers = max(rank * written * math.prod(values.shape[3:]), 1)
    # Each part is added to all outputs: a few channels would not be worth it.
    some = min(max(PART_NUMBERS // numbers, FEWEST_CHANNELS), inputs)
    pictures = max(PART_NUMBERS // (inputs * numbers), 1)
    joint = mixing.flatten(1, 2)
    found = []
    for first in range(0, inputs, some):
        terms = slice(first * rank, (first + some) * rank)
        of_terms = slice(terms.start * written, terms.stop * written)
        part = slice(first, first + some)
        found.append(_Part(part, joint[part], kernels[of_terms], channels[:, terms]))
    return pictures, found


def _placed(some: Tensor, found: Tensor | None, start: int, count: int) -> Tensor:
    """Results of ``count`` pictures so far, with those of some more from ``start`` on.

    They are allocated like the first of them, so that it works under ``torch.vmap`` whichever
    of the arguments is batched, and no list of results is held beside the whole.
    """
    if found is None:
        found = some.new_empty(count, *some.shape[1:])
    found[start : start + len(some)] = some
    return found
