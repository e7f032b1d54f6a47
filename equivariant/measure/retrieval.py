"""Does the action find the view it should? Ranks among views, and nearest neighbours in a set."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from equivariant.actions import Action
from equivariant.errors import ShapeError
from equivariant.groups import quaternion_xyzw_from_matrix
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
    views of o, the source among them. Ties share the mean of their ranks, so a constant
    embedding scores as chance, whatever the order of the views.

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

    Source: Garrido et al. 2023, section 5 and published code (MRR, H@k).
    """
    _check(z, elements)
    predicted = action(elements, z[:, source].unsqueeze(1))
    ranks = _ranks(predicted, z)
    copied = _ranks(z[:, source].unsqueeze(1).expand_as(z), z)
    views = z.shape[1]
    return Retrieval(
        mrr=float((1 / ranks).mean()),
        hits={k: float((ranks <= k).double().mean()) for k in ks},
        chance_mrr=sum(1 / rank for rank in range(1, views + 1)) / views,
        chance_hits={k: min(1.0, k / views) for k in ks},
        copy_mrr=float((1 / copied).mean()),
    )


def _ranks(predicted: Tensor, z: Tensor) -> Tensor:
    """Rank of candidate j for prediction j, from 1, ties averaged, shape (objects, views)."""
    similarity = normalize(predicted, dim=-1) @ normalize(z, dim=-1).transpose(-1, -2)
    own = similarity.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
    # Equal up to rounding counts as equal: copies of one vector differ in the last bit.
    close = (similarity - own).abs() <= 8 * torch.finfo(similarity.dtype).eps
    above = ((similarity > own) & ~close).sum(-1)
    return (1 + above + 0.5 * (close.sum(-1) - 1)).double()


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

    Args:
        action: How an element moves an embedding.
        z: Embeddings of every view, shape (objects, views, dim).
        elements: g from the source view to each view, shape (objects, views, n, n).
        poses: Absolute rotations, shape (objects, views, 3, 3).
        source: Which view is moved.
        chunk: Queries compared with all images at once, which bounds the memory; None takes as
            many as make 2²⁶ similarities.
        generator: Of the random reference; None uses seed 0.

    Raises:
        ShapeError: The shapes do not belong together.

    Source: Garrido et al. 2023, section 5 and published code (PRE).
    """
    _check(z, elements)
    quaternions = quaternion_xyzw_from_matrix(poses.double())
    candidates, q = normalize(z.flatten(0, 1), dim=-1), quaternions.flatten(0, 1)
    predicted = action(elements, z[:, source].unsqueeze(1)).flatten(0, 1)
    chunk = chunk or max(1, 2**26 // len(candidates))
    nearest = torch.cat(
        [(normalize(part, dim=-1) @ candidates.T).argmax(1) for part in predicted.split(chunk)]
    )
    generator = generator or torch.Generator().manual_seed(0)
    shuffled = torch.randint(q.shape[0], (q.shape[0],), generator=generator)
    copied = quaternions[:, source].unsqueeze(1).expand_as(quaternions).flatten(0, 1)
    return PredictionError(
        pre=_pose_error(q, q[nearest]),
        random=_pose_error(q, q[shuffled]),
        copy=_pose_error(q, copied),
    )


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
