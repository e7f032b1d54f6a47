"""Random numbers from an explicit source, on the device where they are used."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.shapes import Bool, Int, Scalar


def uniform(
    shape: tuple[int, ...], *, like: Tensor, generator: torch.Generator | None = None
) -> Scalar:
    """Numbers from U[0, 1), float64.

    Args:
        shape: Of the result.
        like: The result goes to its device.
        generator: Source, on the CPU or on a device, and the draw is made there: a seeded one on
            the CPU means the same numbers on every device. None takes PyTorch's global
            generator of ``like``'s device.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> uniform((2, 3), like=torch.zeros(1), generator=g).shape
        torch.Size([2, 3])
    """
    place = like.device if generator is None else generator.device
    numbers = torch.rand(shape, generator=generator, device=place, dtype=torch.float64)
    return numbers.to(like.device)


def beta(
    a: float,
    b: float,
    shape: tuple[int, ...],
    *,
    like: Tensor,
    generator: torch.Generator | None = None,
) -> Scalar:
    """Numbers from Beta(a, b), float64: X / (X + Y) of X ~ Gamma(a) and Y ~ Gamma(b).

    Args:
        a: First parameter, positive; the mean is a / (a + b).
        b: Second parameter, positive.
        shape: Of the result.
        like: The result goes to its device.
        generator: As in :func:`uniform`.

    Raises:
        ConventionError: A parameter is not positive.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> x = beta(2.0, 8.0, (20000,), like=torch.zeros(1), generator=g)
        >>> bool((x.mean() - 0.2).abs() < 0.01)
        True
    """
    if not (a > 0 and b > 0):
        raise ConventionError(
            expected="positive parameters of a Beta law",
            got=f"({a}, {b})",
            argument="concentration",
            advice="Equal parameters above 1 put most of the mass near one half.",
        )
    place = like.device if generator is None else generator.device
    parameters = torch.tensor([a, b], dtype=torch.float64, device=place)
    # The sampler behind torch.distributions.Gamma, which hides its generator.
    gammas = torch._standard_gamma(parameters.expand(*shape, 2).contiguous(), generator=generator)
    x, y = gammas.clamp_min(torch.finfo(torch.float64).tiny).unbind(-1)
    return (x / (x + y)).to(like.device)


def choose(
    allowed: Bool[Tensor, "n m"], count: int, *, generator: torch.Generator | None = None
) -> tuple[Int[Tensor, "n count"], Bool[Tensor, " n"]]:
    """Column numbers drawn uniformly, with replacement, from the allowed ones of each row.

    Args:
        allowed: Shape (N, M).
        count: Draws per row.
        generator: As in :func:`uniform`.

    Returns:
        Columns, shape (N, count), int64; and which rows allow any, shape (N,). The columns of a
        row that allows none are 0.

    Example:
        >>> columns, found = choose(torch.tensor([[False, True], [False, False]]), 3)
        >>> columns.tolist(), found.tolist()
        ([[1, 1, 1], [0, 0, 0]], [True, False])
    """
    number = allowed.sum(1, keepdim=True)
    order = allowed.to(torch.int8).argsort(dim=1, descending=True, stable=True)
    rank = position(number, (allowed.shape[0], count), generator=generator)
    columns = torch.take_along_dim(order, rank, 1) if allowed.shape[1] else rank
    found = number.squeeze(1) > 0
    return torch.where(found[:, None], columns, 0), found


def position(
    number: Int[Tensor, "n 1"], shape: tuple[int, int], *, generator: torch.Generator | None = None
) -> Int[Tensor, "n count"]:
    """Uniform integers of row i from 0, ..., number_i - 1; 0 where number_i is 0.

    Args:
        number: Shape (N, 1), int64, at least 0.
        shape: Of the result, (N, count).
        generator: As in :func:`uniform`.
    """
    u = uniform(shape, like=number, generator=generator)
    # A product that rounds up to number itself would be one too many.
    return torch.minimum((u * number).long(), (number - 1).clamp_min(0))
