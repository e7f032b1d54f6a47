"""Numbers of equivariant tensors beside those of the library EMLP, for nearly all of its groups.

published/emlp_ranks.json holds ``T(p, q)(group).equivariant_basis().shape[-1]`` of EMLP 1.0.3 in
float64 (JAX 0.10.2), by group and "p,q". T(a, b) -> T(c, d) has as many maps as T(c + b, d + a)
has invariants, so each number is also that of a map with indices on both sides.
"""

import json
import re
from pathlib import Path

import pytest
import torch

from equivariant.actions import EquivariantMaps, Factor, TensorProduct, Tensors, Trivial
from equivariant.groups import (
    GL,
    O2,
    SL,
    SO,
    SO3,
    CubeFaces,
    Cyclic,
    Dihedral,
    Embedded,
    Generated,
    IndefiniteOrthogonal,
    Lorentz,
    O,
    Permutation,
    Product,
    Scaling,
    Symplectic,
    TrivialGroup,
    Union,
)  # fmt: skip

PUBLISHED = json.loads((Path(__file__).parent / "published" / "emlp_ranks.json").read_text())
SINGLE = {
    "Parity": Generated(torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0]))[None]),
    "TimeReversal": Generated(torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))[None]),
    "SO13p": Lorentz(), "SO13": IndefiniteOrthogonal(1, 3, "special"),
    "O13": IndefiniteOrthogonal(1, 3), "SO11p": IndefiniteOrthogonal(1, 1, "connected"),
    "O11": IndefiniteOrthogonal(1, 1), "Cube": CubeFaces(),
    "Embed(SO(3),5,slice(0,3))": Embedded(SO3(), 5, (0, 1, 2)),
    "Embed(O(2),4,slice(1,3))": Embedded(O2(), 4, (1, 2)),
}  # fmt: skip
FAMILIES = {
    "SO": SO, "O": O, "SL": SL, "GL": GL, "Sp": Symplectic, "Z": Cyclic, "S": Permutation,
    "D": Dihedral, "C": lambda n: Dihedral(n, mirrored=False), "Scaling": Scaling,
    "Trivial": TrivialGroup,
}  # fmt: skip


def group_of(name):
    if name in SINGLE:
        return SINGLE[name]
    family, size = re.fullmatch(r"(\w+)\((\d+)\)", name).groups()
    return FAMILIES[family](int(size))


@pytest.mark.parametrize("name", PUBLISHED)
def test_ranks_are_those_of_emlp(name):
    group = group_of(name)
    for key, published in PUBLISHED[name].items():
        p, q = map(int, key.split(","))
        a, b = q // 2, p // 2
        for into, out in (((0, 0), (p, q)), ((a, b), (p - b, q - a))):
            found = EquivariantMaps(Tensors(group, *into), Tensors(group, *out)).rank
            assert found == published, (key, into, out)


def test_neighbouring_groups_differ():
    """The twin: numbers of one group are not those of the next."""
    for one, other in (("SO(3)", "O(3)"), ("SO11p", "O11"), ("Z(4)", "S(4)"), ("D(4)", "C(4)"),
                       ("SL(2)", "GL(2)"), ("Sp(1)", "SO(2)")):  # fmt: skip
        shared = set(PUBLISHED[one]) & set(PUBLISHED[other])
        assert any(PUBLISHED[one][key] != PUBLISHED[other][key] for key in shared), (one, other)


@pytest.mark.parametrize(("left", "right", "published"),
    [(SO3(), Permutation(2), [0, 2, 4]), (SO(2), Cyclic(3), [0, 6, 0])], ids=str)  # fmt: skip
def test_products_of_groups_on_products_of_spaces(left, right, published):
    """EMLP's direct product acts on the Kronecker product of the two spaces."""
    both = Product(left, right)
    one = TensorProduct(Factor(Tensors(left, 1), both, 0), Factor(Tensors(right, 1), both, 1))
    acts = [one, TensorProduct(one, one), TensorProduct(one, TensorProduct(one, one))]
    scalar = Trivial(1, both)
    assert [EquivariantMaps(scalar, act).rank for act in acts] == published


def test_turns_of_a_pixel_grid():
    """Quarter turns and shifts of a periodic 2 x 2 grid with two orientations: 1 and 8 tensors."""
    shift = torch.eye(2).roll(1, 0)
    half = torch.eye(4).flip(0)
    group = Generated(torch.stack([
        torch.kron(torch.kron(torch.eye(2), shift), torch.eye(2)),
        torch.kron(torch.eye(4), shift), torch.kron(shift, half),
    ]))  # fmt: skip
    ranks = [EquivariantMaps(Tensors(group, 0), Tensors(group, p)).rank for p in (1, 2)]
    assert ranks == [1, 8]


def test_groups_too_large_to_be_listed():
    """Two cycles of 12 that share a point generate far more than 20,000 permutations."""
    size = 23
    first, second = torch.arange(size), torch.arange(size)
    first[:12], second[11:] = first[:12].roll(1), second[11:].roll(1)
    group = Union(*(Generated(torch.eye(size)[order][None]) for order in (first, second)))
    act = Tensors(group, 1)
    assert EquivariantMaps(act, act).rank == 2  # as all permutations: it moves pairs transitively
    assert EquivariantMaps(act, Tensors(group, 0)).rank == 1
