"""SL(n) and scaled rotations: the contract, the missing logarithms, the nearest element."""

import math

import pytest
import torch

from equivariant.errors import ConventionError
from equivariant.groups import GL, SL, SO3, ScaledRotations
from equivariant.testing import GroupContract


class _PrincipalBranch(GroupContract):
    """Coordinates small enough that the logarithms of products stay on the principal branch."""

    def draw(self, *batch, generator):
        shape = (*batch, self.group.dim)
        return self.group.exp(0.3 * torch.randn(shape, generator=generator, dtype=torch.float64))


class TestPlane(_PrincipalBranch):
    group = SL(2)


class TestSpace(_PrincipalBranch):
    group = SL(3)


class TestScaledRotationsOfThePlane(GroupContract):
    group = ScaledRotations(2)


class TestScaledRotationsOfSpace(GroupContract):
    group = ScaledRotations(3)


def diagonal(*entries):
    return torch.diag(torch.tensor(entries, dtype=torch.float64))


def test_the_algebra_is_traceless_and_named():
    for n in (2, 3, 4):
        basis = SL(n).basis()
        assert len(basis) == n * n - 1 == len(SL(n).direction_names)
        torch.testing.assert_close(
            basis.diagonal(dim1=1, dim2=2).sum(-1), torch.zeros(n * n - 1).double()
        )
        gram = torch.einsum("aij,bij->ab", basis, basis)
        torch.testing.assert_close(gram, torch.diag(gram.diagonal()))
    assert SL(3).direction_names == (
        "a12", "a13", "a21", "a23", "a31", "a32", "a11-a22", "a11+a22-2a33",
    )  # fmt: skip
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert SL(2).hat(x).tolist() == [[3.0, 1.0], [2.0, -3.0]]


def test_elements_without_a_logarithm_are_refused():
    for h in (diagonal(-2.0, -0.5), diagonal(-1.0, -1.0), diagonal(-3.0, -1 / 3)):
        assert bool(SL(2).contains(h))
        with pytest.raises(ConventionError, match="negative real axis"):
            SL(2).log(h)
    with pytest.raises(ConventionError, match="elements of SL"):
        SL(2).log(diagonal(2.0, 1.0))
    with pytest.raises(ConventionError, match="size"):
        SL(1)
    with pytest.raises(ConventionError, match="size"):
        ScaledRotations(4)
    with pytest.raises(ConventionError, match="2 or 3"):
        _ = GL(4).orthogonal_subgroup


def test_membership_looks_at_the_determinant():
    for n in (2, 3, 4):
        near = SL(n).identity(2) * torch.tensor([1.0, 1.01]).double()[:, None, None]
        assert SL(n).contains(near).tolist() == [True, False]
    assert not bool(SL(2).contains(diagonal(1.0, -1.0)))
    large = SL(2).exp(torch.tensor([3.0, -2.0, 4.0], dtype=torch.float64))
    assert bool(SL(2).contains(large.float()))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_projection_is_nearest(n):
    """No rival is nearer: neither small motions of the result nor random elements."""
    group, generator = SL(n), torch.Generator().manual_seed(n)
    noise = torch.randn(20, n, n, generator=generator, dtype=torch.float64)
    cases = [*noise, *(group.identity() + 0.3 * noise[:5]), 3 * group.identity(),
             0.2 * group.identity(), 0 * group.identity(), diagonal(*range(n)),
             diagonal(*[1.0] * (n - 1), -1.0), -group.identity()]  # fmt: skip
    small = 0.05 * torch.randn(300, group.dim, generator=generator, dtype=torch.float64)
    random = group.sample(300, generator=generator)
    for m in cases:
        a = group.project(m)
        assert float(torch.linalg.det(a)) == pytest.approx(1.0, abs=1e-9)
        rivals = torch.cat([a @ group.exp(small), group.exp(small) @ a, random])
        least = float(torch.linalg.matrix_norm(rivals - m).min())
        assert float(torch.linalg.matrix_norm(a - m)) <= least + 1e-12
    torch.testing.assert_close(group.project(random), random, atol=1e-12, rtol=1e-10)


def test_projection_differentiates():
    noise = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for m in (
        SL(3).identity(),
        SL(3).identity() + 0.4 * noise[0],
        diagonal(2.0, 2.0, 0.5),
        noise[1],
    ):
        assert torch.autograd.gradcheck(SL(3).project, (m.clone().requires_grad_(),))
    flat = (3 * SL(2).identity()).requires_grad_()  # many are nearest
    SL(2).project(flat).sum().backward()
    assert bool(flat.grad.isfinite().all())


def test_scaled_rotations_are_rotations_times_scales():
    group = ScaledRotations(3)
    x = torch.tensor([0.1, -0.4, 0.2, 0.7], dtype=torch.float64)
    torch.testing.assert_close(group.exp(x), math.exp(0.7) * SO3().exp(x[:3]))
    torch.testing.assert_close(group.orthogonal_part(group.exp(x)), SO3().exp(x[:3]))
    assert group.orthogonal_dim == 3 and not group.preserves_lengths
    rank_one = torch.zeros(3, 3, dtype=torch.float64)
    rank_one[0, 0] = -1.0
    assert bool(group.contains(group.project(rank_one)))
