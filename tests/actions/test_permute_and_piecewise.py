"""Permuted rows and pairs, and clouds of rigid pieces, against slow loops."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.actions import Permute, PermutePairs, Piecewise, Points
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import O3, SE3, SO2, SO3, Permutation, Spin3
from equivariant.testing import ActionContract

PARTS = torch.tensor([0, 2, 1, 1, 0, 2, 2])


class _ArrayContract(ActionContract):
    """Lengths are those of whole arrays, and there is no matrix on one row."""

    rows: int

    def draw(self, *batch, generator):
        shape = (*batch, self.rows, self.action.dim)
        z = torch.randn(shape, generator=generator, dtype=torch.float64)
        return self.action.group.sample(*batch, generator=generator), z

    def test_matrix_does_what_the_action_does(self, generator):
        g, _ = self.draw(4, generator=generator)
        with pytest.raises(ConventionError, match="matrix"):
            self.action.matrix(g)

    def test_lengths(self, generator):
        if not self.action.orthogonal:
            pytest.skip("this action does not promise to preserve lengths")
        g, z = self.draw(4, generator=generator)
        torch.testing.assert_close(self.action(g, z).norm(dim=(-2, -1)), z.norm(dim=(-2, -1)))


class TestPermute(_ArrayContract):
    action = Permute(5, 3)
    rows = 5


class TestPermutePairs(_ArrayContract):
    action = PermutePairs(4)
    rows = 4


class TestTurnedPieces(_ArrayContract):
    action = Piecewise(SO3(), PARTS)
    rows = 7


class TestReflectedPieces(_ArrayContract):
    action = Piecewise(O3(), PARTS)
    rows = 7


class TestPlanePieces(_ArrayContract):
    action = Piecewise(SO2(), PARTS)
    rows = 7


class TestMovedPieces(_ArrayContract):
    action = Piecewise(SE3(), PARTS)
    rows = 7

    def linear(self):
        return False


def drawn(group, *batch):
    return group.sample(*batch, generator=torch.Generator().manual_seed(0))


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_permutations_against_numpy_indexing():
    g, z, pairs = drawn(Permutation(6), 10), normal(10, 6, 2), normal(10, 6, 6)
    moved, moved_pairs = Permute(6, 2)(g, z), PermutePairs(6)(g, pairs)
    for k in range(10):
        order = g[k].argmax(-1).numpy()
        np.testing.assert_array_equal(moved[k], z[k].numpy()[order])
        np.testing.assert_array_equal(moved_pairs[k], pairs[k].numpy()[np.ix_(order, order)])


def test_pairs_of_permuted_points_are_permuted_pairs():
    g, z = drawn(Permutation(6), 10), normal(10, 6, 2)
    moved = Permute(6, 2)(g, z)
    torch.testing.assert_close(
        torch.cdist(moved, moved), PermutePairs(6)(g, torch.cdist(z, z)), atol=1e-6, rtol=0
    )
    kron = torch.kron(g[0], torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(kron @ z[0].flatten(), moved[0].flatten())


def test_pieces_against_a_loop():
    action = Piecewise(SE3(), PARTS)
    g, z = drawn(action.group, 4), normal(4, 7, 3)
    moved = action(g, z)
    for k in range(4):
        elements = action.group.split(g[k])
        for i, part in enumerate(PARTS.tolist()):
            rotation, translation = SE3.split(elements[part])
            torch.testing.assert_close(moved[k, i], rotation @ z[k, i] + translation)


def test_equal_elements_move_a_cloud_as_one():
    action, g, z = Piecewise(SE3(), PARTS), drawn(SE3(), 4), normal(4, 7, 3)
    torch.testing.assert_close(action(action.group.join([g, g, g]), z), Points(SE3())(g, z))


def test_the_labels_move_with_the_module_and_are_not_saved():
    action = Piecewise(SO3(), PARTS)
    assert not action.state_dict()
    assert [name for name, _ in action.named_buffers()] == ["parts"]


def test_refusals():
    g = Permutation(3).identity()
    for shape in ((3, 3), (2, 2), (2,)):
        with pytest.raises((ShapeError, TypeCheckError)):
            Permute(3, 2)(g, torch.zeros(shape, dtype=torch.float64))
    with pytest.raises(ShapeError, match="shape"):
        PermutePairs(3)(g, torch.zeros(3, 2, dtype=torch.float64))
    with pytest.raises(ConventionError, match="size"):
        PermutePairs(0)
    with pytest.raises(ConventionError, match="moves points"):
        Piecewise(Spin3(), PARTS)
    with pytest.raises(ConventionError, match="Renumber"):
        Piecewise(SO3(), torch.tensor([0, 2]))
    with pytest.raises(ConventionError, match="Renumber"):
        Piecewise(SO3(), torch.tensor([-1, 0]))
    with pytest.raises(ConventionError, match="int64"):
        Piecewise(SO3(), torch.tensor([0, 1], dtype=torch.int32))
    with pytest.raises(ShapeError, match="parts"):
        Piecewise(SO3(), torch.zeros(2, 0, dtype=torch.int64))
    action = Piecewise(SO3(), PARTS)
    with pytest.raises(ShapeError, match="shape"):
        action(action.group.identity(), torch.zeros(6, 3, dtype=torch.float64))


OWN = torch.tensor([[0, 2, 1, 1, 0], [2, 2, 0, 1, 1], [1, 0, 2, 0, 0], [0, 1, 2, 2, 2]])


def moved_point_by_point(g, z, parts, group):
    """The definition, one point at a time."""
    moved = z.clone()
    for k in range(len(z)):
        elements = group.split(g[k])
        for i, part in enumerate(parts[k].tolist()):
            rotation, translation = SE3.split(elements[part])
            moved[k, i] = rotation @ z[k, i] + translation
    return moved


@pytest.mark.parametrize("count", [None, 4])
def test_labels_of_each_cloud_against_a_loop(count):
    action = Piecewise(SE3(), OWN, count=count)
    g, z = drawn(action.group, 4), normal(4, 5, 3)
    assert len(action.group.factors) == (count or 3)
    expected = moved_point_by_point(g, z, OWN, action.group)
    torch.testing.assert_close(action(g, z), expected)
    # wrong on purpose: the labels of the first cloud for all of them
    broken = Piecewise(SE3(), OWN[0], count=count)(g, z)
    torch.testing.assert_close(broken[0], expected[0])
    assert (broken - expected).abs().amax((1, 2))[1:].min() > 0.1


def test_equal_labels_of_each_cloud_act_as_shared_ones():
    shared, own = Piecewise(SE3(), PARTS), Piecewise(SE3(), PARTS.expand(4, -1))
    g, z = drawn(shared.group, 4), normal(4, 7, 3)
    assert own.group == shared.group
    assert torch.equal(own(g, z), shared(g, z))
    assert torch.equal(own(g[0], z), shared(g[0], z))
    assert torch.equal(own(g, z[0]), shared(g, z[0]))
    several = normal(3, 4, 7, 3)
    assert torch.equal(own(g, several), shared(g, several))
    assert torch.equal(own(g[:, None], several[:1]), shared(g[:, None], several[:1]))


def test_labels_of_each_cloud_obey_the_axioms():
    action = Piecewise(SE3(), OWN)
    g, h, z = drawn(action.group, 4), drawn(action.group, 8)[4:], normal(4, 5, 3)
    torch.testing.assert_close(action(g @ h, z), action(g, action(h, z)))
    torch.testing.assert_close(action(action.group.identity(), z), z)
    torch.testing.assert_close(action(action.group.inverse(g), action(g, z)), z)


def test_gradients_reach_elements_through_labels_of_each_cloud():
    action = Piecewise(SO3(), OWN)
    g, z = drawn(action.group, 4).requires_grad_(), normal(4, 5, 3).requires_grad_()
    assert torch.autograd.gradcheck(action, (g, z))


def test_refusals_of_labels_of_each_cloud():
    lacking = torch.tensor([[0, 1], [1, 1]])
    with pytest.raises(ConventionError, match="count"):
        Piecewise(SO3(), lacking)
    assert len(Piecewise(SO3(), lacking, count=3).group.factors) == 3
    for wrong in (lacking - 1, lacking + 1):
        with pytest.raises(ConventionError, match=r"\[0, 2\)"):
            Piecewise(SO3(), wrong, count=2)
    action = Piecewise(SO3(), OWN)
    for shape in ((4, 6, 3), (3, 5, 3), (4, 5, 2)):
        with pytest.raises(ShapeError, match="4, 5, 3"):
            action(action.group.identity(), torch.zeros(shape, dtype=torch.float64))
