"""What keeps trained augmentations from being trivial, or from being anything at all."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.losses.checks import check_paired, check_rows
from equivariant.losses.wide_arithmetic import in_full_precision
from equivariant.shapes import Float


@in_full_precision
def triviality(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """How far positives and negatives are from being equally alike.

        mean_i relu(p_i - min(p_i, m_i)) + mean_(i, j≠i) relu(max(p_i, m_i) - n_ij),
        p_i = a_i · b_i,   n_ij = a_i · b_j,   m_i = max_j n_ij

    Small where the positive is no more alike than the nearest negative, and no negative is far: an
    augmenter trained with it beside a contrast makes positives that are not given away.

    Args:
        a: Embeddings of one made view, shape (N, D), N >= 2; not normalized here.
        b: Of the other one.

    Raises:
        ShapeError: The shapes differ, or there are fewer than two rows.

    Source: Qin et al. 2023 (MCLRec), weight 0.1.
    """
    check_paired(a, b)
    check_rows(a, 2, "a")
    scores = a @ b.T
    own = torch.eye(len(a), dtype=torch.bool, device=a.device)
    positive, others = scores.diagonal(), scores.masked_fill(own, -torch.inf)
    nearest = others.amax(1)
    above = (positive - torch.minimum(positive, nearest)).mean()
    apart = torch.maximum(positive, nearest)[:, None] - scores
    return above + apart[~own].relu().mean()


@in_full_precision
def kernel_discrepancy(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    *,
    bandwidths: tuple[float, ...] = (0.5, 1.0, 2.0),
) -> Float[Tensor, ""]:
    """Squared distance of two sets' means in the spaces of several Gaussian kernels.

        MMD² = mean k(x, x') + mean k(y, y') - 2 mean k(x, y),
        k(u, v) = Σ_b exp(-|u - v|² / (2 b² s)),   s mean squared distance of all rows, fixed

    Args:
        x: Shape (n, D), n >= 1.
        y: Shape (m, D), m >= 1.
        bandwidths: b, above 0, in units of the rows' distances.

    Returns:
        At least 0 up to rounding; 0 where both sets are the same.

    Raises:
        ShapeError: A set is empty.
        ConventionError: There is no bandwidth, or one is not above 0.

    Source: Gretton et al. 2012, eq. 5; as augmenter's loss Zheng et al. 2024 (AutoTCL).
    """
    check_rows(x, 1, "x")
    check_rows(y, 1, "y")
    if not bandwidths or not min(bandwidths) > 0:
        raise ConventionError(
            expected="bandwidths above 0", got=str(bandwidths), argument="bandwidths",
            advice="Half, one and two mean distances are usual.",
        )  # fmt: skip
    rows = torch.cat([x, y])
    square = (rows[:, None] - rows).square().sum(2)
    scale = square.detach().mean().clamp_min(torch.finfo(square.dtype).tiny)
    kernel = sum(torch.exp(-square / (2 * b * b * scale)) for b in bandwidths)
    n = len(x)
    value: Tensor = kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()  # type: ignore[index]
    return value
