"""Every group and every law names the elements at which errors hide."""

import math
from itertools import combinations

import pytest
import torch

from equivariant.groups import (
    GL,
    O3,
    SE3,
    SO2,
    SO3,
    Affine,
    BallSampler,
    Elements,
    HaarSampler,
    NormalSampler,
    Permutation,
    Product,
    Spin3,
    Torus,
    Translation,
)
from equivariant.groups.base import Group


def rotation(n, i, j):
    """The half turn of the plane of axes i and j, by hand."""
    g = torch.eye(n, dtype=torch.float64)
    g[i, i] = g[j, j] = -1.0
    return g


def same(found, expected):
    """The same set of elements, exactly."""
    left = sorted(g.flatten().tolist() for g in found)
    return left == sorted(g.flatten().tolist() for g in expected)


@pytest.mark.parametrize(
    ("group", "space"),
    [(SO2(), 2), (SO3(), 3), (SE3(), 3), (GL(2), 2), (GL(3), 3), (GL(4), 4), (Affine(3), 3)],
)
def test_half_turns_of_all_coordinate_planes(group, space):
    turns = [rotation(group.matrix_size, i, j) for i, j in combinations(range(space), 2)]
    assert same(group.special_elements().values(), turns)


def test_reflections_products_permutations_and_quaternions():
    turns = [rotation(3, i, j) for i, j in combinations(range(3), 2)]
    mirrors = [torch.diag(torch.tensor(d).double()) for d in ((-1, 1, 1), (1, -1, 1), (1, 1, -1))]
    eye = torch.eye(3, dtype=torch.float64)
    assert same(O3().special_elements().values(), [*turns, -eye, *mirrors])
    product = Product(SO3(), Translation(1), O3()).special_elements()
    assert [name for name in product if name.endswith("factor 0")] == [
        f"half turn {k} of factor 0" for k in range(3)
    ]
    assert "inversion of factor 2" in product and not any("factor 1" in name for name in product)
    assert torch.equal(product["inversion of factor 2"][5:, 5:], -eye)
    assert len(Torus(3).special_elements()) == 3
    assert not Translation(3).special_elements() and not Permutation(1).special_elements()
    assert list(Permutation(2).special_elements()) == ["swap"]
    moved = {name: (g @ torch.arange(4.0).double()).tolist()
             for name, g in Permutation(4).special_elements().items()}  # fmt: skip
    assert moved == {"swap": [1, 0, 2, 3], "reversal": [3, 2, 1, 0], "cycle": [3, 0, 1, 2]}
    quaternions = Spin3().special_elements()
    assert torch.equal(quaternions["minus one"], -torch.eye(4, dtype=torch.float64))
    for k in range(3):
        assert torch.allclose(Spin3.rotation(quaternions[f"half turn {k}"]),
                              SO3().special_elements()[f"half turn {k}"])  # fmt: skip


class Screws(Group):
    """A group of a user's: rotations of a plane in other coordinates, beside a shear."""

    compact = False
    dim, matrix_size = 2, 4

    def basis(self):
        basis = torch.zeros(2, 4, 4, dtype=torch.float64)
        basis[0, 0, 1], basis[0, 1, 0] = -4.0, 1.0  # eigenvalues ±2i, not skew
        basis[1, 2, 3] = 1.0
        return basis

    def exp(self, coordinates):
        return torch.linalg.matrix_exp(self.hat(coordinates))

    log = inverse = draw = project = lambda self, *a, **k: None


def test_groups_of_users_answer_by_their_one_parameter_subgroups():
    found = Screws().special_elements()
    assert list(found) == ["half turn 0"]
    expected = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
    assert torch.allclose(found["half turn 0"], expected, atol=1e-12)


def test_laws_keep_what_belongs_to_them():
    turns = {f"half turn {k}" for k in range(3)}
    assert set(HaarSampler(SO3()).special_elements()) == turns
    assert not BallSampler(SO3(), 1.0).special_elements()
    assert set(BallSampler(O3(), math.pi).special_elements()) == turns
    assert set(NormalSampler(SE3(), 0.5).special_elements()) == turns
    assert set(NormalSampler(O3(), 0.5).special_elements()) == turns  # exp reaches no mirror
    about_z = torch.tensor([0.0, 0.0, 0.3, 1.0, 1.0, 1.0])
    assert set(NormalSampler(SE3(), about_z).special_elements()) == {"half turn 2"}
    steps = lambda n: SO2().exp(  # noqa: E731
        2 * torch.pi / n * torch.arange(n, dtype=torch.float64)[:, None]
    )
    assert set(Elements(SO2(), steps(4)).special_elements()) == {"half turn 0"}
    assert not Elements(SO2(), steps(3)).special_elements()
    unused = torch.tensor([1.0, 1.0, 0.0, 1.0])
    assert not Elements(SO2(), steps(4), unused).special_elements()
