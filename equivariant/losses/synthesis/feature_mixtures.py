"""Pairs that no data holds: harder negatives and farther positives, made in feature space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.checks import check_paired, check_width
from equivariant.losses.synthesis.draws import beta, position, uniform
from equivariant.shapes import Bool, Float


@dataclass(frozen=True)
class HardMixtures:
    """Synthetic negatives of every query.

    Args:
        z: Unit vectors, detached, shape (N, S, D); zeros where a query had no negative.
        rows: Rows of the bank that were mixed, shape (N, S, 2), int64; -1 stands for the query.
        share: Weight of the first of the two, shape (N, S).
        valid: Queries that had a negative, shape (N,).
    """

    z: Tensor
    rows: Tensor
    share: Tensor
    valid: Tensor


@torch.no_grad()
def mochi(
    q: Float[Tensor, "n d"],
    bank: Float[Tensor, "m d"],
    *,
    hardest: int = 1024,
    mixed: int = 512,
    with_query: int = 256,
    allowed: Bool[Tensor, "n m"] | None = None,
    generator: torch.Generator | None = None,
) -> HardMixtures:
    """Mix the hardest negatives of each query with one another and with the query.

        unit(α n_a + (1 - α) n_b)   α ~ U(0, 1)      ``mixed`` times
        unit(β q + (1 - β) n_a)     β ~ U(0, 1/2)    ``with_query`` times

    n_a and n_b are drawn uniformly from the ``hardest`` rows of the bank by cosine, a ≠ b where
    there are two. They are used beside the bank, not in its place, and after some epochs without
    them, when the hardest rows mean something. Mixing is linear: features that rotate must be
    brought to one pose first, or ``allowed`` limited to rows of the query's pose.

    Args:
        q: Queries, shape (N, D), any length.
        bank: Negatives, shape (M, D), M >= 1.
        hardest: How many to draw from, at least 1; all M if there are fewer.
        mixed: Mixtures of two negatives per query.
        with_query: Mixtures with the query per query.
        allowed: Which rows are negatives of which query, shape (N, M); None for all.
        generator: Source; None takes PyTorch's global one.

    Returns:
        Mixtures, the ``mixed`` ones first: z of shape (N, mixed + with_query, D), in q's dtype.

    Raises:
        ShapeError: An empty bank.
        ConventionError: ``hardest`` below 1 or a negative number of mixtures.

    Example:
        >>> z = mochi(torch.randn(4, 8), torch.randn(100, 8), hardest=10, mixed=5, with_query=3).z
        >>> z.shape, bool(torch.allclose(z.norm(dim=-1), torch.ones(4, 8)))
        (torch.Size([4, 8, 8]), True)

    Source: Kalantidis et al. 2020 (MoCHi).
    """
    _check_sizes(bank, hardest=hardest, mixed=mixed, with_query=with_query)
    with torch.autocast(q.device.type, enabled=False):
        queries, negatives = _unit(_wide(q)), _unit(_wide(bank))
        scores = queries @ negatives.to(queries.dtype).T
        if allowed is not None:
            scores = torch.where(allowed, scores, -torch.inf)
        top = scores.topk(min(hardest, bank.shape[0]), dim=1)
        number = torch.isfinite(top.values).sum(1, keepdim=True)
        rows, share = _draw_mixtures(number, mixed, with_query, generator)
        rows = torch.where(rows < 0, -1, torch.take_along_dim(
            top.indices[:, :, None], rows.clamp_min(0), 1))  # fmt: skip
        first = negatives[rows[..., 0].clamp_min(0)]
        first[:, mixed:] = queries[:, None]
        second = negatives[rows[..., 1]]
        weight = share.to(first)[..., None]
        valid = number.squeeze(1) > 0
        z = _unit(weight * first + (1 - weight) * second) * valid[:, None, None]
    return HardMixtures(z=z.to(q.dtype), rows=rows, share=share.to(z.dtype), valid=valid)


def _draw_mixtures(
    number: Tensor, mixed: int, with_query: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Ranks among the hardest, shape (N, S, 2), -1 for the query; and the first one's share."""
    n, count = number.shape[0], mixed + with_query
    first = position(number, (n, count), generator=generator)
    # Any of the others, cyclically after the first.
    step = 1 + position((number - 1).clamp_min(0), (n, count), generator=generator)
    second = (first + step) % number.clamp_min(1)
    rows = torch.stack([first, second], -1)
    rows[:, mixed:, 1] = first[:, mixed:]
    rows[:, mixed:, 0] = -1
    share = uniform((n, count), like=number, generator=generator)
    share[:, mixed:] *= 0.5
    return rows, share


@dataclass(frozen=True)
class ExtrapolatedPairs:
    """Positive pairs pulled apart.

    Args:
        q: Shape (N, D).
        k: Shape (N, D).
        share: λ, shape (N, D) or (N, 1), between 1 and 2.
    """

    q: Tensor
    k: Tensor
    share: Tensor


def extrapolate_positives(
    q: Float[Tensor, "n d"],
    k: Float[Tensor, "m d"],
    *,
    concentration: float = 2.0,
    per_dimension: bool = True,
    renormalize: bool = False,
    generator: torch.Generator | None = None,
) -> ExtrapolatedPairs:
    """Make positives harder: move the two of a pair away from each other along their line.

        q̃ = λ q + (1 - λ) k,   k̃ = λ k + (1 - λ) q,   λ - 1 ~ Beta(c, c)

    With one λ per pair and unit vectors at cosine s, the score falls to

        q̃ · k̃ = s + 2 λ (1 - λ) (1 - s) <= s

    One λ per dimension is the published default; then the score falls on average over draws.

    Args:
        q: Shape (N, D), unit vectors; gradients flow through both.
        k: Shape (N, D), row i the positive of q's row i.
        concentration: c, positive; larger keeps λ nearer to 1.5.
        per_dimension: One λ per number, not per pair.
        renormalize: Bring the results back to unit length.
        generator: Source; None takes PyTorch's global one.

    Returns:
        The moved pairs and λ.

    Raises:
        ShapeError: q and k differ in shape.
        ConventionError: The concentration is not positive.

    Example:
        >>> q = k = torch.eye(3)
        >>> bool(torch.allclose(extrapolate_positives(q, k).q, q))
        True

    Source: Zhu et al. 2021, published code.
    """
    if q.shape != k.shape:
        raise ShapeError(
            expected=f"one positive per query, shape {tuple(q.shape)}",
            got=f"shape {tuple(k.shape)}",
            argument="k",
            advice="Row i of k is the positive of row i of q.",
        )
    shape = (q.shape[0], q.shape[1] if per_dimension else 1)
    share = beta(concentration, concentration, shape, like=q, generator=generator).to(q.dtype) + 1
    moved_q, moved_k = share * q + (1 - share) * k, share * k + (1 - share) * q
    if renormalize:
        moved_q, moved_k = _unit(moved_q), _unit(moved_k)
    return ExtrapolatedPairs(q=moved_q, k=moved_k, share=share)


@dataclass(frozen=True)
class InterpolatedNegatives:
    """A bank whose rows were mixed with one another.

    Args:
        z: Shape (M, D).
        partner: Row that each row was mixed with, shape (M,), int64: a permutation.
        share: Weight of the row itself, shape (M, D) or (M, 1).
    """

    z: Tensor
    partner: Tensor
    share: Tensor


def interpolate_negatives(
    bank: Float[Tensor, "m d"],
    *,
    concentration: float = 1.6,
    per_dimension: bool = True,
    renormalize: bool = False,
    generator: torch.Generator | None = None,
) -> InterpolatedNegatives:
    """Make negatives more diverse: mix every row of a bank with another one.

        n' = μ n + (1 - μ) n_perm,   μ ~ Beta(c, c)

    Args:
        bank: Negatives, shape (M, D).
        concentration: c, positive.
        per_dimension: One μ per number, not per row.
        renormalize: Bring the results to unit length.
        generator: Source; None takes PyTorch's global one.

    Returns:
        The mixed rows, which take the bank's place; their partners and μ.

    Raises:
        ConventionError: The concentration is not positive.

    Example:
        >>> interpolate_negatives(torch.ones(5, 3)).z.unique()
        tensor([1.])

    Source: Zhu et al. 2021, published code.
    """
    m, d = bank.shape
    partner = uniform((m,), like=bank, generator=generator).argsort()
    share = beta(
        concentration, concentration, (m, d if per_dimension else 1), like=bank, generator=generator
    ).to(bank.dtype)
    z = bank[partner] + share * (bank - bank[partner])
    return InterpolatedNegatives(z=_unit(z) if renormalize else z, partner=partner, share=share)


class Hallucinator(nn.Module):
    """One more positive per anchor, from the features of two views and a small network.

        x̂ = z + λ (z - z'),   λ ~ U(0, reach) per row
        h = unit(x̂ + W₂ relu(W₁ x̂ + b₁) + b₂),   W₂ = 0, b₂ = 0 at first

    The definition is ours: the paper published no code. With reach = 0 an untrained one returns
    unit(z). What it returns is one more candidate with the anchor's identity in a contrast.

    Args:
        dim: Width of the features.
        hidden: Width of the network; None is ``dim``.
        reach: Largest λ, at least 0.

    Raises:
        ConventionError: A negative reach.

    Example:
        >>> z = torch.nn.functional.normalize(torch.randn(4, 8), dim=1)
        >>> bool(torch.allclose(Hallucinator(8, reach=0.0)(z, torch.randn(4, 8)), z))
        True

    Source: Wu et al. 2023 is the inspiration.
    """

    def __init__(self, dim: int, hidden: int | None = None, *, reach: float = 1.0) -> None:
        super().__init__()
        if not reach >= 0:
            raise ConventionError(
                expected="a reach of at least 0",
                got=str(reach),
                argument="reach",
                advice="0 keeps the features where they are, 1 reflects z' through z at most.",
            )
        self.reach = reach
        last = nn.Linear(hidden or dim, dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.residual = nn.Sequential(nn.Linear(dim, hidden or dim), nn.ReLU(), last)

    def forward(
        self,
        z: Float[Tensor, "n d"],
        other: Float[Tensor, "n d"],
        *,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "n d"]:
        """Hallucinated positives of z.

        Args:
            z: Features of the anchors, shape (N, dim); gradients flow through both.
            other: Features of another view of the same objects, shape (N, dim).
            generator: Source of λ; None takes PyTorch's global one.

        Returns:
            Unit vectors, shape (N, dim).

        Raises:
            ShapeError: The features have another width than ``dim``, or differ in shape.
        """
        check_width(z, self.residual[0].in_features, "z")  # type: ignore[arg-type]
        check_paired(z, other)
        share = uniform((z.shape[0], 1), like=z, generator=generator).to(z.dtype)
        moved = z + self.reach * share * (z - other)
        return _unit(moved + self.residual(moved))


def _check_sizes(bank: Tensor, *, hardest: int, mixed: int, with_query: int) -> None:
    if bank.shape[0] == 0:
        raise ShapeError(
            expected="at least one negative",
            got=f"shape {tuple(bank.shape)}",
            argument="bank",
            advice="Fill the bank first, or train the first steps without mixtures.",
        )
    if hardest < 1 or mixed < 0 or with_query < 0:
        raise ConventionError(
            expected="hardest >= 1, mixed >= 0, with_query >= 0",
            got=f"hardest={hardest}, mixed={mixed}, with_query={with_query}",
            argument="hardest",
            advice="0 mixtures of a kind leaves it out.",
        )


def _unit(z: Tensor) -> Tensor:
    return normalize(z, dim=-1, eps=1e-8)


def _wide(z: Tensor) -> Tensor:
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
