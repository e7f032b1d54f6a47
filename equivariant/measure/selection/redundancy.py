"""Leaving out what a data set shows again: examples near to one that is kept already."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError

Distance = Callable[[Tensor, Tensor], Tensor]
"""From one example, shape (1, ...), and others, (M, ...), to distances, (M,) or (1, M)."""


def prune(
    x: Tensor,
    threshold: float,
    *,
    distance: Distance | None = None,
    order: Tensor | None = None,
) -> Tensor:
    """Keep examples one by one unless one that was kept is nearer than a threshold.

        keep i  ⇔  min_{j kept before i} d(x_i, x_j) >= threshold

    What is kept is a packing and a cover: no two are nearer than the threshold, and every example
    that was left out is nearer than it to one that was kept. Distances of invariant descriptors
    leave out turned copies as well.

    Args:
        x: Examples or their descriptors, shape (N, ...).
        threshold: In the distance's unit, at least 0; 0 keeps all, infinity the first.
        distance: d; :func:`cosine_distance` by default.
        order: In which examples are looked at, a permutation, shape (N,), int64; None is theirs.

    Returns:
        Numbers of what is kept, ascending, shape (M,), int64.

    Raises:
        ShapeError: The order has another length.
        ConventionError: The threshold is negative or NaN, or the order is no permutation.

    Example:
        >>> views = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]])
        >>> prune(views, 0.1).tolist()
        [0, 2]

    Source: the three distances of Wolf et al. 2024, "Less is more", in the order of the data.
    """
    if not threshold >= 0:
        raise ConventionError(
            expected="a distance of at least 0", got=str(threshold), argument="threshold",
            advice="Look at a histogram of distances between neighbours first.",
        )  # fmt: skip
    d = cosine_distance if distance is None else distance
    kept: list[int] = []
    with torch.no_grad():
        for i in _permutation(order, len(x)):
            near = d(x[i : i + 1], x[torch.tensor(kept)]) if kept else x.new_zeros(0)
            if not bool((near < threshold).any()):
                kept.append(i)
    return torch.tensor(sorted(kept), dtype=torch.int64)


def farthest_first(
    x: Tensor, count: int, *, distance: Distance | None = None, first: int = 0
) -> Tensor:
    """Choose a given number of examples, each the farthest from those chosen before.

        i_k = argmax_i min_{j < k} d(x_i, x_{i_j})

    The distance at which the last one came is at most twice that of the best choice of as many.

    Args:
        x: Examples or their descriptors, shape (N, ...).
        count: How many, in [1, N].
        distance: d; :func:`cosine_distance` by default.
        first: Which one is chosen first.

    Returns:
        Their numbers as chosen, shape (count,), int64; of equals the first.

    Raises:
        ConventionError: There are not so many examples, or no first one.

    Source: Gonzalez 1985.
    """
    if not 1 <= count <= len(x) or not 0 <= first < len(x):
        raise ConventionError(
            expected=f"a count in [1, {len(x)}] and a first example below {len(x)}",
            got=f"count={count}, first={first}", argument="count",
            advice="Choose no more than there are.",
        )  # fmt: skip
    d = cosine_distance if distance is None else distance
    chosen = [first]
    with torch.no_grad():
        near = d(x[first : first + 1], x).flatten()
        for _ in range(count - 1):
            open_ones = near.clone()
            open_ones[chosen] = -math.inf
            chosen.append(int(open_ones.argmax()))
            near = torch.minimum(near, d(x[chosen[-1] : chosen[-1] + 1], x).flatten())
    return torch.tensor(chosen, dtype=torch.int64)


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """1 - cos(a, b_j), in [0, 2]; of a zero vector 1.

    Args:
        a: Shape (1, ...).
        b: Shape (M, ...).
    """
    u, v = (torch.nn.functional.normalize(t.flatten(1).double(), dim=1) for t in (a, b))
    return (1.0 - (v * u).sum(1)).clamp(0.0, 2.0)


def information_distance(a: Tensor, b: Tensor, *, bins: int = 16) -> Tensor:
    """1 - I(a; b_j) / max(H(a), H(b_j)) of values in [0, 1], place by place; in [0, 1].

    I and H are of the joint histogram of both values over all places. Two constants are at 0,
    one constant is at 1 from all else.

    Args:
        a: Picture, cloud or other array with values in [0, 1], shape (1, ...).
        b: Others, shape (M, ...).
        bins: Of the histogram, at least 2.
    """
    levels_a, levels_b = (
        (t.flatten(1).clamp(0.0, 1.0) * bins).long().clamp(max=bins - 1) for t in (a, b)
    )
    cells = (levels_a * bins + levels_b).flatten()
    owner = torch.arange(len(b), device=b.device).repeat_interleave(levels_b.shape[1])
    count = torch.bincount(owner * bins * bins + cells, minlength=len(b) * bins * bins)
    joint = count.view(len(b), bins, bins).double() / max(levels_b.shape[1], 1)
    of_a, of_b, both = (
        -torch.xlogy(p, p).flatten(1).sum(1) for p in (joint.sum(2), joint.sum(1), joint)
    )
    most = torch.maximum(of_a, of_b)
    shared = (of_a + of_b - both) / torch.where(most > 0, most, 1.0)
    return torch.where(most > 0, 1.0 - shared, 0.0).clamp(0.0, 1.0)


def hash_distance(a: Tensor, b: Tensor) -> Tensor:
    """Share of places at which one lies above its own mean and the other does not; in [0, 1].

    The average hash: it sees neither brightness nor contrast. Shrink pictures to 8 x 8 first.

    Args:
        a: Shape (1, ...).
        b: Shape (M, ...).
    """
    x, y = (t.flatten(1).double() for t in (a, b))
    differ = (x > x.mean(1, keepdim=True)) != (y > y.mean(1, keepdim=True))
    return differ.double().mean(1)


def _permutation(order: Tensor | None, count: int) -> list[int]:
    if order is None:
        return list(range(count))
    if order.shape != (count,):
        raise ShapeError(
            expected=f"shape ({count},)", got=f"shape {tuple(order.shape)}", argument="order",
            advice="Each example once, for example torch.randperm(len(x)).",
        )  # fmt: skip
    places = [int(i) for i in order]
    if sorted(places) != list(range(count)):
        raise ConventionError(
            expected=f"each number from 0 to {count - 1} once", got="others", argument="order",
            advice="torch.randperm(len(x), generator=...) is one.",
        )  # fmt: skip
    return places
