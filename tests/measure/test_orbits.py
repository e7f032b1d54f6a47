"""Orbits as sets against pairs and brute force; canonical elements."""

from itertools import permutations

import pytest
import torch

from equivariant.actions import Points, Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO2, SO3
from equivariant.measure import canonicalization_residual, orbit_distance


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turned(g, x):
    return (g @ x.unsqueeze(-1)).squeeze(-1)


def test_against_all_permutations():
    x, f = draw(3, 3), torch.tanh
    action = Vectors(SO3())
    found = orbit_distance(f, x, act_in=action, act_out=action, samples=5)
    generator = torch.Generator().manual_seed(0)
    elements = SO3().sample(5, generator=generator)
    images = torch.stack([f(turned(g, x)) for g in elements], 1)
    orbit = torch.stack([turned(g, f(x)) for g in elements], 1)
    for item in range(3):
        best = min(
            float((images[item] - orbit[item, list(order)]).square().sum(-1).mean()) ** 0.5
            for order in permutations(range(5))
        )
        assert float(found.distance[item]) == pytest.approx(best)
    paired = (images - orbit).square().sum(-1).mean(1).sqrt()
    torch.testing.assert_close(found.paired, paired)
    assert (found.distance <= found.paired).all()
    spread = (orbit - orbit.mean(1, keepdim=True)).square().sum(-1).mean(1).sqrt()
    torch.testing.assert_close(found.scale, spread)


def test_a_map_that_keeps_orbits_and_turns_backwards():
    """A reflection takes circles to circles, but g to g⁻¹."""
    flip = torch.tensor([1.0, -1.0], dtype=torch.float64)
    x, action = draw(4, 2), Vectors(SO2())
    mirrored = orbit_distance(lambda x: x * flip, x, act_in=action, act_out=action, samples=128)
    assert (mirrored.distance < 0.5 * mirrored.paired).all()
    assert (mirrored.distance < 2.5 * mirrored.floor).all()
    grown = orbit_distance(
        lambda x: x + torch.nn.functional.relu(x), x, act_in=action, act_out=action, samples=128
    )
    assert (grown.distance > 3 * mirrored.floor).any()
    assert "orbits apart" in str(grown)


def test_canonical_elements():
    def frame(cloud):
        """Gram-Schmidt of the first two points."""
        a = torch.nn.functional.normalize(cloud[:, 0], dim=-1)
        b = cloud[:, 1] - (cloud[:, 1] * a).sum(-1, keepdim=True) * a
        b = torch.nn.functional.normalize(b, dim=-1)
        return torch.stack([a, b, torch.linalg.cross(a, b)], -1)

    cloud = draw(6, 4, 3)
    exact = canonicalization_residual(frame, cloud, act_in=Points(SO3()), samples=7)
    assert exact.shape == (7, 6)
    assert exact.max() < 1e-7
    stuck = canonicalization_residual(
        lambda p: SO3().identity(len(p)), cloud, act_in=Points(SO3()), samples=7
    )
    g = SO3().sample(7, generator=torch.Generator().manual_seed(0))
    angles = SO3().distance(SO3().identity(7), g).unsqueeze(1).expand(7, 6)
    torch.testing.assert_close(stuck, angles)


def test_wrong_arguments():
    x = draw(4, 3)
    with pytest.raises(ConventionError, match="samples"):
        orbit_distance(torch.tanh, x, act_in=Vectors(SO3()), act_out=Trivial(3), samples=1)
    with pytest.raises(ConventionError, match="group"):
        canonicalization_residual(lambda x: SO3().identity(4), x, act_in=Trivial(3))
    with pytest.raises(ShapeError, match="one element per item"):
        canonicalization_residual(lambda x: SO3().identity(2), x, act_in=Vectors(SO3()))
