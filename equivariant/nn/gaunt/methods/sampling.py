"""Products by values at points: sample both operands, multiply point by point, project.

Work proceeds in chunks whose samples fit into the cache, so that memory beyond operands and
result does not grow with the batch. Inside, the axis of coefficients stands before the axis of
vectors: (batch, coefficients, vectors).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from equivariant.nn.gaunt.multilinear_forms import leading_axes

Samples = tuple[Tensor, ...]
CHUNK = 960_000  # bytes of one operand's samples, which stay in the cache


class Sampling(ABC):
    """How functions on the sphere are sampled, multiplied and projected back."""

    points: int
    chunk = CHUNK

    @abstractmethod
    def sample(self, x: Tensor, degree: int) -> Samples:
        """Values, or components of the gradient, of functions at the points.

        Args:
            x: Coefficients, shape (batch, (degree+1)², vectors).
            degree: Largest degree.

        Returns:
            Tensors whose last axis is that of the vectors.
        """

    @abstractmethod
    def combine(self, first: Samples, second: Samples) -> Samples:
        """Product, or bracket, at every point.

        Args:
            first: Samples of the first functions.
            second: Of the second; the axis of vectors broadcasts.

        Returns:
            Samples of the result.
        """

    @abstractmethod
    def project(self, samples: Samples, degree: int) -> Tensor:
        """Coefficients of what was combined.

        Args:
            samples: Result of :meth:`combine`.
            degree: Largest degree.

        Returns:
            Shape (batch, (degree+1)², vectors).
        """


def multiply(sampling: Sampling, x1: Tensor, x2: Tensor, degrees: tuple[int, int, int]) -> Tensor:
    """Product of two functions.

    Args:
        sampling: The method.
        x1: Shape (..., (L1+1)²).
        x2: Shape (..., (L2+1)²); leading axes broadcast.
        degrees: L1, L2 and L3.

    Returns:
        Shape (..., (L3+1)²).
    """
    third = degrees[2]

    def work(parts: Sequence[Tensor]) -> list[Tensor]:
        samples = [
            sampling.sample(part, degree) for part, degree in zip(parts, degrees[:2], strict=True)
        ]
        return [sampling.project(sampling.combine(*samples), third)]

    return _in_chunks(work, (x1, x2), [(third + 1) ** 2], sampling)[0]


def gradients(
    sampling: Sampling, x1: Tensor, x2: Tensor, g: Tensor, degrees: tuple[int, int, int]
) -> list[Tensor]:
    """Gradients of ⟨x1 · x2, g⟩ by x1 and by x2, from samples that both of them share.

    Args:
        sampling: The method.
        x1: Shape (..., (L1+1)²).
        x2: Shape (..., (L2+1)²); leading axes broadcast.
        g: Shape (..., (L3+1)²).
        degrees: L1, L2 and L3.

    Returns:
        Both, with all leading axes.
    """

    def work(parts: Sequence[Tensor]) -> list[Tensor]:
        first, second, third = (
            sampling.sample(part, degree) for part, degree in zip(parts, degrees, strict=True)
        )
        return [
            sampling.project(sampling.combine(second, third), degrees[0]),
            sampling.project(sampling.combine(third, first), degrees[1]),
        ]

    sizes = [(degree + 1) ** 2 for degree in degrees[:2]]
    return _in_chunks(work, (x1, x2, g), sizes, sampling)


Work = Callable[[Sequence[Tensor]], list[Tensor]]


def _in_chunks(
    work: Work, operands: Sequence[Tensor], sizes: list[int], sampling: Sampling
) -> list[Tensor]:
    """Results of shape (..., size) from operands whose leading axes broadcast."""
    lead = leading_axes(operands)
    some = operands[0]
    if lead.numel() == 0:
        return [some.new_zeros(*lead, size) for size in sizes]
    if len(lead) == 0:
        return [part[0, :, 0] for part in work([operand[None, :, None] for operand in operands])]
    whole = len(lead) > 1 and lead[-1] > 1 and all(_stands(operand) for operand in operands)
    if whole:
        parts = [_batched(operand.mT, lead[:-1], 2) for operand in operands]
        shapes = [(*lead[:-1], size, lead[-1]) for size in sizes]
        results = [some.new_empty(lead[:-1].numel(), size, lead[-1]) for size in sizes]
        step = max(1, sampling.chunk // (sampling.points * some.element_size() * lead[-1]))
        for start in range(0, lead[:-1].numel(), step):
            here = slice(start, start + step)
            found = work([part if len(part) == 1 else part[here] for part in parts])
            for result, values in zip(results, found, strict=True):
                result[here] = values
        return [result.view(shape).mT for result, shape in zip(results, shapes, strict=True)]
    rows = [_batched(operand, lead, 1) for operand in operands]
    results = [some.new_empty(lead.numel(), size) for size in sizes]
    step = max(16, sampling.chunk // (sampling.points * some.element_size()))
    for start in range(0, lead.numel(), step):
        here = slice(start, start + step)
        found = work([(row if len(row) == 1 else row[here]).mT[None] for row in rows])
        for result, values in zip(results, found, strict=True):
            result[here] = values[0].mT
    return [result.view(*lead, size) for result, size in zip(results, sizes, strict=True)]


def _stands(operand: Tensor) -> bool:
    """Whether channels lie side by side, in the last but one axis."""
    return operand.dim() > 1 and (operand.shape[-2] == 1 or operand.stride(-2) == 1)


def _batched(operand: Tensor, lead: torch.Size, kept: int) -> Tensor:
    """Leading axes made one, of full size or of size 1; the last ``kept`` axes stay."""
    own, last = operand.shape[:-kept], operand.shape[-kept:]
    if own.numel() == 1:
        return operand.reshape(1, *last)
    return operand.expand(*lead, *last).reshape(-1, *last)
