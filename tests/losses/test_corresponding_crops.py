"""Crops by loops over distances."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import EquivariantError
from equivariant.losses import corresponding_crops


def test_crops_are_the_nearest_points_of_one_place():
    draws = torch.Generator().manual_seed(0)
    first, second = (torch.randn(8, n, 3, generator=draws) for n in (20, 30))
    a, b = corresponding_crops(first, second, points=5, generator=torch.Generator().manual_seed(1))
    for i in range(8):
        center = first[i, a[i, 0]]  # the place is the first one's own nearest point
        for side, found in ((first[i], a[i]), (second[i], b[i])):
            distance = [float((p - center).norm()) for p in side]
            expected = sorted(range(len(side)), key=lambda j: distance[j])[:5]
            assert found.tolist() == expected
    twin = torch.randint(30, (8, 5), generator=draws)  # anywhere
    center = first[torch.arange(8), a[:, 0]][:, None]
    near, far = (
        (second.gather(1, x[..., None].expand(-1, -1, 3)) - center).norm(dim=2).mean()
        for x in (b, twin)
    )
    assert near < 0.7 * far
    places = {
        corresponding_crops(first, second, points=1, generator=draws)[0][0, 0].item()
        for _ in range(200)
    }
    assert len(places) == 20  # every point is a place


def test_refusals():
    x = torch.randn(2, 5, 3)
    for call in (
        lambda: corresponding_crops(x, x, points=6), lambda: corresponding_crops(x, x, points=0),
        lambda: corresponding_crops(x, x[:1], points=2),
    ):  # fmt: skip
        with pytest.raises((EquivariantError, TypeCheckError)):
            call()
