"""Polar, Iwasawa and KAK: round trips, closed forms, derivatives, and one Haar measure."""

import pytest
import torch

from equivariant.groups import GL, KAK, SL, SO2, SO3, Iwasawa, Polar, ScaledRotations

GROUPS = (GL(2), GL(3), SL(2), SL(3), ScaledRotations(2), ScaledRotations(3), SO2(), SO3())
ORDERS = ("KAN", "KNA", "NAK", "ANK")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def decompositions(group):
    return [Polar(group), KAK(group), *(Iwasawa(group, order) for order in ORDERS)]


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)])
def test_split_and_merge_undo_each_other(group, batch):
    h = group.sample(*batch, generator=seeded())
    for of in decompositions(group):
        factors = of.split(h)
        assert all(bool(group.contains(factor).all()) for factor in factors)
        torch.testing.assert_close(of.merge(*factors), h, atol=1e-13, rtol=1e-13)
        again = of.from_coordinates(of.coordinates(h))
        torch.testing.assert_close(again, h, atol=1e-10, rtol=1e-10)
        assert of.log_density(*factors).shape == batch
