"""Mixtures of embeddings for continuous labels: numbers, angles, rotations of space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO3, quaternion_xyzw_from_matrix
from equivariant.groups.numerics import safe_norm
from equivariant.losses.synthesis.draws import beta, choose
from equivariant.losses.synthesis.label_distances import geodesic_distance, wrapped
from equivariant.shapes import Float, Int, Rotation, Scalar


@dataclass(frozen=True)
class LabelMixtures:
    """Mixtures of every anchor, ``share * z[first] + (1 - share) * z[second]``, and their labels.

    Args:
        z: Detached, shape (N, S, D), not brought to unit length.
        label: Labels of the mixtures, shape (N, S), or (N, S, 3, 3) for rotations.
        first: Rows mixed, shape (N, S), int64.
        second: Rows mixed, shape (N, S), int64.
        share: Weight of ``first``, shape (N, S), in [0, 1].
        weight: How much a mixture counts, shape (N, S), in [0, 1]; 0 where it does not exist.
        valid: Anchors that have mixtures, shape (N,).
    """

    z: Tensor
    label: Tensor
    first: Tensor
    second: Tensor
    share: Tensor
    weight: Tensor
    valid: Tensor


@torch.no_grad()
def anchor_inclusive(
    z: Float[Tensor, "n d"],
    labels: Float[Tensor, "n ..."] | Int[Tensor, " n"],
    *,
    count: int,
    concentration: tuple[float, float] = (2.0, 8.0),
    period: float | None = None,
    generator: torch.Generator | None = None,
) -> LabelMixtures:
    """Hard negatives: each anchor mixed with samples of other labels.

        λ z_i + (1 - λ) z_k,   y_k ≠ y_i,   λ ~ Beta(a, b)

    The mixed label is λ y_i + (1 - λ) y_k, on a circle or among rotations the point that divides
    the shortest path from y_k to y_i in this ratio.

    Args:
        z: Embeddings, shape (N, D), usually both views of a batch.
        labels: Numbers or angles, shape (N,), or rotations, shape (N, 3, 3).
        count: Mixtures per anchor, at least 1; k is drawn uniformly, with replacement.
        concentration: (a, b), positive.
        period: One turn, where labels are angles; None for numbers and rotations.
        generator: Source; None takes PyTorch's global one.

    Returns:
        Mixtures, ``first`` the anchor; labels of angles in [0, period). Valid are anchors for
        which another label exists.

    Raises:
        ShapeError: One label per row is missing, or they are neither numbers nor rotations.
        ConventionError: ``count`` below 1, a concentration or period that is not positive.

    Example:
        >>> mixed = anchor_inclusive(torch.eye(3), torch.tensor([0.0, 0.0, 1.0]), count=4)
        >>> mixed.second[0].tolist(), bool(torch.allclose(mixed.label[0], 1 - mixed.share[0]))
        ([2, 2, 2, 2], True)

    Source: Wu et al. 2023 (SupReMix), published code.
    """
    rotations = _check(z, labels, count=count, period=period)
    y = _numbers(labels, z)
    share = beta(*concentration, (z.shape[0], count), like=z, generator=generator).to(y.dtype)
    if rotations:
        differ = geodesic_distance(y, y) > _equal_angle(y.dtype)
    elif period is not None:
        differ = wrapped(y[None] - y[:, None], period) != 0
    else:
        differ = y[None] != y[:, None]
    second, valid = choose(differ, count, generator=generator)
    first = torch.arange(z.shape[0], device=z.device)[:, None].expand(-1, count)
    if rotations:
        label = slerp(y[second], y[first], share)
    else:
        ahead = y[second] - y[first]
        ahead = ahead if period is None else wrapped(ahead, period)
        label = y[first] + (1 - share) * ahead
        label = label if period is None else torch.remainder(label, period)
    weight = valid[:, None].expand(-1, count).to(y.dtype)
    return _mix(z, label, first, second, share, weight, valid)


@torch.no_grad()
def anchor_exclusive(
    z: Float[Tensor, "n d"],
    labels: Float[Tensor, "n ..."] | Int[Tensor, " n"],
    *,
    window: float,
    count: int,
    period: float | None = None,
    generator: torch.Generator | None = None,
) -> LabelMixtures:
    """Hard positives: two samples whose labels straddle the anchor's, mixed to its label.

        λ z_j + (1 - λ) z_k,   y_j < y_i < y_k within the window,   λ = (y_k - y_i) / (y_k - y_j)

    Args:
        z: Embeddings, shape (N, D).
        labels: Numbers or angles, shape (N,).
        window: Largest |y_j - y_i| and |y_k - y_i|, positive; of angles at most a quarter turn,
            so that the mixture lies on the shorter arc.
        count: Mixtures per anchor, at least 1; j and k are drawn uniformly, with replacement.
        period: One turn, where labels are angles; None for numbers.
        generator: Source; None takes PyTorch's global one.

    Returns:
        Mixtures whose label is exactly the anchor's. Valid are anchors with labels in the window
        on both sides.

    Raises:
        ShapeError: Labels are not one number per row.
        ConventionError: ``count`` below 1, or a window or period out of range.

    Example:
        >>> mixed = anchor_exclusive(
        ...     torch.eye(3), torch.tensor([0.0, 1.0, 4.0]), window=5.0, count=1
        ... )
        >>> mixed.valid.tolist(), mixed.z[1].tolist(), mixed.label[1].tolist()
        ([False, True, False], [[0.75, 0.0, 0.25]], [1.0])

    Source: Wu et al. 2023 (SupReMix), published code; the circle is ours.
    """
    if _check(z, labels, count=count, period=period):
        raise ShapeError(
            expected=f"one number per row, shape ({z.shape[0]},)",
            got=f"shape {tuple(labels.shape)}",
            argument="labels",
            advice="For rotations call anchor_exclusive_rotations.",
        )
    _check_window(window, largest=None if period is None else period / 4)
    y = _numbers(labels, z)
    ahead = y[None] - y[:, None]
    ahead = ahead if period is None else wrapped(ahead, period)
    near = ahead.abs() <= window
    first, below = choose(near & (ahead < 0), count, generator=generator)
    second, above = choose(near & (ahead > 0), count, generator=generator)
    valid = below & above
    up, down = torch.take_along_dim(ahead, second, 1), torch.take_along_dim(ahead, first, 1)
    share = torch.where(valid[:, None], up / torch.where(valid[:, None], up - down, 1.0), 0.0)
    weight = valid[:, None].expand(-1, count).to(y.dtype)
    label = y[:, None].expand(-1, count)
    return _mix(z, label, first, second, share, weight, valid)


@torch.no_grad()
def anchor_exclusive_rotations(
    z: Float[Tensor, "n d"],
    rotations: Float[Tensor, "n 3 3"],
    *,
    window: float,
    count: int,
    bandwidth: float,
    draws: int = 16,
    generator: torch.Generator | None = None,
) -> LabelMixtures:
    """Hard positives for rotations: two samples with the anchor near the geodesic between them.

        λ z_j + (1 - λ) z_k,   λ = argmin_λ d(slerp(y_k, y_j; λ), y_i),   weight exp(-d² / 2h²)

    Three rotations rarely lie on one geodesic, so d, the distance that is left, discounts the
    mixture; of ``draws`` candidates for each mixture the ones with the smallest d are kept.

    Args:
        z: Embeddings, shape (N, D).
        rotations: Labels, shape (N, 3, 3).
        window: Largest angle from y_i to y_j and y_k in radians, in (0, π].
        count: Mixtures per anchor, at least 1.
        bandwidth: h, radians, positive.
        draws: Pairs (j, k) drawn, uniformly with replacement, for each mixture kept.
        generator: Source; None takes PyTorch's global one.

    Returns:
        Mixtures; ``label`` is the nearest point of the geodesic, ``weight`` as above, 0 where j
        and k are equal rotations. Valid are anchors with two different rotations in the window.

    Raises:
        ShapeError: Not one rotation per row.
        ConventionError: A number out of range.

    Example:
        >>> turn = torch.tensor([[0.0, 0.0, -0.2], [0.0, 0.0, 0.0], [0.0, 0.0, 0.6]])
        >>> mixed = anchor_exclusive_rotations(
        ...     torch.eye(3), SO3().exp(turn), window=1.0, count=1, bandwidth=0.1,
        ...     generator=torch.Generator().manual_seed(0),
        ... )
        >>> sorted(round(x, 4) for x in mixed.z[1, 0].tolist()), round(float(mixed.weight[1, 0]), 4)
        ([0.0, 0.25, 0.75], 1.0)

    Source: ours, after Wu et al. 2023 (SupReMix).
    """
    _check(z, rotations, count=count, period=None)
    _check_window(window, largest=torch.pi)
    if draws < 1 or not bandwidth > 0:
        raise ConventionError(
            expected="draws >= 1 and a positive bandwidth",
            got=f"draws={draws}, bandwidth={bandwidth}",
            argument="bandwidth",
            advice="The bandwidth is in radians.",
        )
    y = _numbers(rotations, z)
    distance = geodesic_distance(y, y)
    near = (distance > _equal_angle(y.dtype)) & (distance <= window)
    first, found = choose(near, draws * count, generator=generator)
    second, _ = choose(near, draws * count, generator=generator)
    anchors = y[:, None].expand(-1, draws * count, -1, -1)
    t, label = nearest_on_geodesic(anchors, y[first], y[second])
    left = SO3().distance(label, anchors)
    same = SO3().distance(y[first], y[second]) <= _equal_angle(y.dtype)
    left = torch.where(same | ~found[:, None], torch.inf, left)
    left, best = left.topk(count, dim=1, largest=False)
    first, second, t = (torch.take_along_dim(x, best, 1) for x in (first, second, t))
    label = torch.take_along_dim(label, best[..., None, None], 1)
    weight = torch.exp(-0.5 * (left / bandwidth).square())
    return _mix(z, label, first, second, 1 - t, weight, torch.isfinite(left).any(1))


def slerp(a: Rotation, b: Rotation, t: Scalar) -> Rotation:
    """The rotation that divides the shortest path from a to b, ``a exp(t log(aᵀ b))``.

    Args:
        a: Start, shape (..., 3, 3).
        b: End, shape (..., 3, 3); at a half turn from a the path is the one SO3's log chooses.
        t: Where, shape (...): 0 is a, 1 is b.

    Example:
        >>> a, b = SO3().exp(torch.tensor([[0.0, 0.0, 0.2], [0.0, 0.0, 1.0]]))
        >>> SO3().log(slerp(a, b, torch.tensor(0.5)))
        tensor([0.0000, 0.0000, 0.6000])
    """
    return a @ SO3().exp(t[..., None] * SO3().log(SO3().inverse(a) @ b))


def nearest_on_geodesic(anchor: Rotation, a: Rotation, b: Rotation) -> tuple[Scalar, Rotation]:
    """The point of the shortest path from a to b that is nearest to a third rotation.

    With x = tθ/2, n and θ the axis and angle of aᵀb and (v, w) the quaternion of aᵀ anchor, the
    distance is 2 arccos|w cos x + (v·n) sin x|. The largest modulus is at x* = atan2(v·n, w)
    modulo π if that is on the path, otherwise at one of its ends. At a half turn two paths are
    equally short, and the one that passes nearer to the anchor is taken.

    Args:
        anchor: Shape (..., 3, 3).
        a: Start, shape (..., 3, 3).
        b: End, shape (..., 3, 3).

    Returns:
        t in [0, 1], shape (...), and the point there, shape (..., 3, 3). t = 0 where a = b.

    Example:
        >>> z = torch.tensor([0.0, 0.0, 1.0])
        >>> a, b, r = SO3().exp(torch.tensor([[0.0], [2.0], [0.5]]) * z)
        >>> t, point = nearest_on_geodesic(r, a, b)
        >>> round(float(t), 5), bool(torch.allclose(point, r, atol=1e-6))
        (0.25, True)
    """
    w_ab = SO3().log(SO3().inverse(a) @ b)
    theta = safe_norm(w_ab)
    n = w_ab / torch.where(theta > 0, theta, 1.0)[..., None]
    q = quaternion_xyzw_from_matrix(SO3().inverse(a) @ anchor)
    along, scalar = (q[..., :3] * n).sum(-1), q[..., 3]  # scalar >= 0
    half_turn = torch.pi - theta <= torch.finfo(theta.dtype).eps ** 0.5
    other_way = half_turn & (along < 0)
    n = torch.where(other_way[..., None], -n, n)
    along = torch.where(other_way, -along, along)
    theta = torch.where(other_way, 2 * torch.pi - theta, theta)
    best = torch.remainder(torch.atan2(along, scalar), torch.pi)
    end = theta / 2
    at_end = (scalar * end.cos() + along * end.sin()).abs() > scalar.abs()
    x = torch.where(best <= end, best, torch.where(at_end, end, 0.0))
    t = torch.where(theta > 0, x / torch.where(end > 0, end, 1.0), 0.0)
    return t, a @ SO3().exp((t * theta)[..., None] * n)


def _mix(
    z: Tensor,
    label: Tensor,
    first: Tensor,
    second: Tensor,
    share: Tensor,
    weight: Tensor,
    valid: Tensor,
) -> LabelMixtures:
    part = share.to(z.dtype)[..., None]
    mixed = part * z[first] + (1 - part) * z[second]
    return LabelMixtures(
        z=mixed, label=label, first=first, second=second, share=share, weight=weight, valid=valid
    )


def _numbers(labels: Tensor, z: Tensor) -> Tensor:
    """In the floating type of labels, float32 at least; integers in float64."""
    kind = labels.dtype if labels.is_floating_point() else torch.float64
    return labels.to(device=z.device, dtype=torch.promote_types(kind, torch.float32))


def _equal_angle(kind: torch.dtype) -> float:
    """Rotations nearer than this are the same up to rounding."""
    return 16 * torch.finfo(kind).eps


def _check(z: Tensor, labels: Tensor, *, count: int, period: float | None) -> bool:
    """Whether labels are rotations."""
    n = z.shape[0]
    rotations = tuple(labels.shape) == (n, 3, 3)
    if not rotations and tuple(labels.shape) != (n,):
        raise ShapeError(
            expected=f"labels of shape ({n},) or ({n}, 3, 3)",
            got=f"shape {tuple(labels.shape)}",
            argument="labels",
            advice="One number, angle or rotation matrix per row of z.",
        )
    if count < 1 or (rotations and period is not None) or (period is not None and not period > 0):
        raise ConventionError(
            expected="count >= 1, and a positive period with angles only",
            got=f"count={count}, period={period}",
            argument="period" if count >= 1 else "count",
            advice="The period is one turn in the unit of the labels; rotations have none.",
        )
    return rotations


def _check_window(window: float, *, largest: float | None) -> None:
    if not window > 0 or (largest is not None and window > largest):
        limit = "" if largest is None else f", at most {largest:.6g}"
        raise ConventionError(
            expected=f"a positive window{limit}",
            got=str(window),
            argument="window",
            advice="It is the largest distance from the anchor's label, in the unit of labels.",
        )
