"""Target distributions over prototypes; none of them has a gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.errors import ShapeError
from equivariant.losses.checks import (
    check_count,
    check_indices,
    check_positive,
    check_rows,
    check_share,
)
from equivariant.losses.wide_arithmetic import in_full_precision
from equivariant.processes import (
    across_processes,
    log_sum_over_rows,
    mean_over_rows,
)
from equivariant.shapes import Float, Int


@torch.no_grad()
@in_full_precision
def sinkhorn(
    scores: Float[Tensor, "n k"], *, eps: float = 0.05, iterations: int = 3
) -> Float[Tensor, "n k"]:
    """Soft assignment of samples to prototypes in which all prototypes are used about equally.

    Starting from Q = exp(scores/eps), each iteration divides every column by its sum over the
    samples, then every row by its sum over the prototypes. All of it in logarithms, so one number
    added to all scores changes nothing, however large. (A maximum subtracted per sample is
    not harmless: it is another start, and after three iterations another result.)

    With several processes the samples are those of all of them: column sums are reduced, and
    every process gets the codes of its own rows. Processes may hold different numbers of rows.

    Args:
        scores: Shape (N, K), finite; cosines of embeddings and prototypes.
        eps: Entropy of the codes, above 0; towards 0 they become hard.
        iterations: At least 1. At convergence rows sum to 1 and columns to N/K.

    Returns:
        Codes, shape (N, K), rows sum to 1; without gradient, float32 or wider.

    Raises:
        ShapeError: No prototypes, or a single process with no samples.
        ConventionError: eps is not positive, or fewer than one iteration.

    Example:
        >>> sinkhorn(torch.zeros(2, 4))[0]
        tensor([0.2500, 0.2500, 0.2500, 0.2500])

    Source: Caron et al. 2020 (SwAV); Cuturi 2013.
    """
    check_positive(eps, "eps", "The usual value is 0.05.")
    check_count(iterations, "iterations", "Three iterations are usual.")
    check_rows(scores.T, 1, "scores")
    if not across_processes():
        check_rows(scores, 1, "scores")
    codes = scores / eps
    for _ in range(iterations):
        codes = codes - log_sum_over_rows(codes)
        codes = codes - codes.logsumexp(1, keepdim=True)
    return codes.exp()


@torch.no_grad()
@in_full_precision
def centred_softmax(
    scores: Float[Tensor, "n k"], centre: Float[Tensor, " k"], *, tau: float = 0.04
) -> Float[Tensor, "n k"]:
    """Sharpened distribution of a teacher whose mean score is taken away.

        p_i = softmax((t_i - centre) / tau)

    Args:
        scores: Shape (N, K), the teacher's scores t.
        centre: Shape (K,), usually from :class:`Centre`.
        tau: Temperature, above 0; 0.04 to 0.07 for the teacher against 0.1 for the student.

    Returns:
        Shape (N, K), rows sum to 1; without gradient, float32 or wider.

    Raises:
        ConventionError: tau is not positive.

    Example:
        >>> centred_softmax(torch.tensor([[3.0, 1.0]]), torch.tensor([3.0, 1.0]))
        tensor([[0.5000, 0.5000]])

    Source: Caron et al. 2021 (DINO)
    """
    check_positive(tau, "tau", "A teacher's temperature is 0.04 to 0.07.")
    return ((scores - centre) / tau).softmax(1)


class Centre(nn.Module):
    """Running mean of a teacher's scores, over the batches of all processes.

    The call returns the centre *before* the batch, and in training then moves it:
    c ← momentum c + (1 - momentum) mean_i t_i.

    Args:
        dim: K, the number of scores.
        momentum: Weight of the old centre, in [0, 1].

    Raises:
        ConventionError: momentum is outside [0, 1].

    Example:
        >>> centre = Centre(2)
        >>> scores = torch.ones(4, 2)
        >>> targets = centred_softmax(scores, centre(scores), tau=0.04)
        >>> centre.mean
        tensor([0.1000, 0.1000])

    Source: Caron et al. 2021 (DINO)
    """

    mean: Tensor

    def __init__(self, dim: int, *, momentum: float = 0.9) -> None:
        super().__init__()
        check_share(momentum, "momentum", "The usual value is 0.9.")
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(dim))

    @torch.no_grad()
    def forward(self, scores: Float[Tensor, "n k"]) -> Float[Tensor, " k"]:
        """The centre before this batch, shape (K,); in training it moves afterwards.

        Args:
            scores: Shape (N, K).

        Raises:
            ShapeError: Another number of columns.
        """
        if scores.shape[1] != len(self.mean):
            raise ShapeError(
                expected=f"{len(self.mean)} columns",
                got=f"shape {tuple(scores.shape)}",
                argument="scores",
                advice="Build Centre with the number of prototypes.",
            )
        before = self.mean.clone()
        if self.training:
            self.mean.lerp_(mean_over_rows(scores.to(self.mean)), 1.0 - self.momentum)
        return before

    def extra_repr(self) -> str:
        return f"{len(self.mean)}, momentum={self.momentum:g}"


def hard_targets(assignment: Int[Tensor, " n"], count: int) -> Float[Tensor, "n k"]:
    """One-hot rows for clusters or classes; ``scores.argmax(1)`` makes them of scores.

    Args:
        assignment: Shape (N,), integers from 0 to count-1.
        count: K, the number of clusters.

    Returns:
        Shape (N, K), in torch's default dtype.

    Raises:
        ConventionError: A value of assignment is outside its range.

    Example:
        >>> hard_targets(torch.tensor([2, 0]), 3)
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    check_indices(assignment, count)
    return torch.eye(count, device=assignment.device)[assignment.long()]
