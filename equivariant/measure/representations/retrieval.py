"""Does the action find the view it should? Ranks among views, and nearest neighbours in a set."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from equivariant.actions import Action
from equivariant.errors import ShapeError
from equivariant.groups import quaternion_xyzw_from_matrix
from equivariant.measure.representations.finite_numbers import check_finite
from equivariant.shapes import Float


@dataclass(frozen=True)
class Retrieval:
    """Ranks of the true view among the views of its object.

    Args:
        mrr: Mean reciprocal rank.
        hits: Share of queries with rank <= k, by k.
        chance_mrr: ``mrr`` of a random order, H_V / V with H the harmonic number.
        chance_hits: ``hits`` of a random order, k / V.
        copy_mrr: ``mrr`` of predicting the source itself.
    """

    mrr: float
    hits: dict[int, float]
    chance_mrr: float
    chance_hits: dict[int, float]
    copy_mrr: float


def retrieval(
    action: Action,
    z: Float[Tensor, "objects views dim"],
    elements: Float[Tensor, "objects views n n"],
    *,
    source: int = 0,
    ks: tuple[int, ...] = (1, 2, 5, 10),
) -> Retrieval:
    """Move one view of every object to each of its views; rank the views by cosine.

    For object o and view j the prediction is p = ρ(g_oj) z_o,source; the candidates are all
    views of o, the source among them. Cosines that are equal up to rounding are a tie, and a tie
    gets its expectation over all orders: with ``a`` better candidates and ``t`` tied ones, the
    true view among them, reciprocal rank (H(a + t) - H(a)) / t with H the harmonic number, and
    hit clip(k - a, 0, t) / t. So a constant embedding scores as chance.

    Args:
        action: How an element moves an embedding.
        z: Embeddings of every view, shape (objects, views, dim).
        elements: g that takes the source view to each view, shape (objects, views, n, n).
        source: Which view is moved.
        ks: For which k hits are counted.

    Returns:
        Means over all objects and views, each beside its chance level.

    Raises:
        ShapeError: Embeddings and elements do not belong together.
        ConventionError: An embedding or a moved embedding is not finite.

    Source: Garrido et al. 2023, section 5 and published code (MRR, H@k); ties are ours.
    """
    _check(z, elements)
    predicted = action(elements, z[:, source].unsqueeze(1))
    check_finite(predicted, "action(elements, z)", rows="objects")
    above, tied = _places(predicted, z)
    views = z.shape[1]
    return Retrieval(
        mrr=_mean_reciprocal(above, tied),
        hits={k: float(((k - above).clamp(min=0).minimum(tied) / tied).mean()) for k in ks},
        chance_mrr=float(_harmonic(views)[views] / views),
        chance_hits={k: min(1.0, k / views) for k in ks},
        copy_mrr=_mean_reciprocal(*_places(z[:, source].unsqueeze(1).expand_as(z), z)),
    )


def _places(predicted: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Candidates above the true view, and those tied with it, itself included, both float64."""
    similarity = _unit(predicted.double()) @ _unit(z.double()).transpose(-1, -2)
    own = similarity.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
    close = (similarity - own).abs() <= _rounding(z)
    above = ((similarity > own) & ~close).sum(-1)
    return above.double(), close.sum(-1).double()


def _mean_reciprocal(above: Tensor, tied: Tensor) -> float:
    harmonic = _harmonic(int((above + tied).max())).to(above.device)
    return float(((harmonic[(above + tied).long()] - harmonic[above.long()]) / tied).mean())


def _harmonic(count: int) -> Tensor:
    """H(0), ..., H(count), float64."""
    steps = 1 / torch.arange(1, count + 1, dtype=torch.float64)
    return torch.cat([steps.new_zeros(1), steps.cumsum(0)])


def _unit(z: Tensor) -> Tensor:
    """Vectors of length 1, or 0 where there is no direction, in float32 or wider."""
    wide = z.to(torch.promote_types(z.dtype, torch.float32))
    # By the largest entry first, so that no square under- or overflows.
    largest = wide.abs().amax(-1, keepdim=True)
    return normalize(wide / largest.clamp(min=torch.finfo(wide.dtype).tiny), dim=-1)


def _rounding(z: Tensor) -> float:
    """Cosines of vectors of this dtype that differ by less count as equal."""
    return 8 * torch.finfo(z.dtype).eps


@dataclass(frozen=True)
class PredictionError:
    """How far the pose of the nearest image is from the pose that was asked for.

    Args:
        pre: Mean of sin²(angle / 2) between the two poses; 0 is perfect, 1 the worst.
        random: ``pre`` of retrieving any image.
        copy: ``pre`` of retrieving the source view.
    """

    pre: float
    random: float
    copy: float


def prediction_retrieval_error(
    action: Action,
    z: Float[Tensor, "objects views dim"],
    elements: Float[Tensor, "objects views n n"],
    poses: Float[Tensor, "objects views 3 3"],
    *,
    source: int = 0,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> PredictionError:
    """Nearest image of the whole set to each moved view; error of its absolute pose.

        PRE = mean over queries of 1 - ⟨q_true, q_nearest⟩²

    Where several images are nearest up to rounding, the mean of theirs counts.

    Args:
        action: How an element moves an embedding.
        z: Embeddings of every view, shape (objects, views, dim).
        elements: g from the source view to each view, shape (objects, views, n, n).
        poses: Absolute rotations, shape (objects, views, 3, 3).
        source: Which view is moved.
        chunk: Queries compared with all images at once, which bounds the memory; None takes as
            many as make 2²⁴ similarities.
        generator: Of the random reference; None uses seed 0.

    Raises:
        ShapeError: The shapes do not belong together.
        ConventionError: An embedding or a moved embedding is not finite.

    Source: Garrido et al. 2023, section 5 and published code (PRE); ties are ours.
    """
    _check(z, elements)
    quaternions = quaternion_xyzw_from_matrix(poses.double())
    candidates, q = _unit(z.flatten(0, 1)), quaternions.flatten(0, 1)
    predicted = action(elements, z[:, source].unsqueeze(1))
    check_finite(predicted, "action(elements, z)", rows="objects")
    chunk = chunk or max(1, 2**24 // len(candidates))
    errors = [
        _nearest_error(part, candidates, asked, q, _rounding(z))
        for part, asked in zip(predicted.flatten(0, 1).split(chunk), q.split(chunk), strict=True)
    ]
    generator = generator or torch.Generator().manual_seed(0)
    shuffled = torch.randint(q.shape[0], (q.shape[0],), generator=generator)
    copied = quaternions[:, source].unsqueeze(1).expand_as(quaternions).flatten(0, 1)
    return PredictionError(
        pre=float(torch.cat(errors).mean()),
        random=_pose_error(q, q[shuffled]),
        copy=_pose_error(q, copied),
    )


def _nearest_error(
    predicted: Tensor, candidates: Tensor, asked: Tensor, q: Tensor, rounding: float
) -> Tensor:
    """1 - ⟨asked, q_nearest⟩² per query, the mean over those nearest up to rounding."""
    similarity = _unit(predicted) @ candidates.T
    nearest = similarity.argmax(1, keepdim=True)
    best = similarity.gather(1, nearest)
    error = 1 - (asked * q[nearest[:, 0]]).sum(-1).square()
    second = similarity.scatter_(1, nearest, -torch.inf).amax(1)
    several = (second >= best[:, 0] - rounding).nonzero().flatten()
    if len(several):
        similarity.scatter_(1, nearest, best)
        weights = (similarity[several] >= best[several] - rounding).double()
        outer = (weights @ (q[:, :, None] * q[:, None, :]).flatten(1)).unflatten(1, (4, 4))
        turned = asked[several]
        agreement = torch.einsum("ni,nij,nj->n", turned, outer, turned)
        error[several] = 1 - agreement / weights.sum(1)
    return error


def _pose_error(p: Tensor, q: Tensor) -> float:
    return float((1 - (p * q).sum(-1).square()).mean())


def _check(z: Tensor, elements: Tensor) -> None:
    if z.ndim != 3 or elements.ndim != 4 or elements.shape[:2] != z.shape[:2]:
        raise ShapeError(
            expected="z of shape (objects, views, dim) and elements (objects, views, n, n)",
            got=f"z {tuple(z.shape)}, elements {tuple(elements.shape)}",
            argument="elements",
            advice="One element per view: the one that takes the source view to it.",
        )
    check_finite(z, "z", rows="objects")
