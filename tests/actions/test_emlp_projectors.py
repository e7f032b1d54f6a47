"""Projectors on equivariant maps beside those of the library EMLP.

published/emlp_bases.npz holds what `(T(p, q) >> T(r, s))(group).equivariant_basis()` of EMLP 1.0.3
returned in float64 (JAX 0.10.2), by "group|p,q->r,s".
"""

from pathlib import Path

import numpy as np
import pytest

from equivariant.actions import EquivariantMaps, Tensors
from equivariant.groups import (
    GL,
    O2,
    O3,
    SL,
    SO2,
    SO3,
    Cyclic,
    Dihedral,
    IndefiniteOrthogonal,
    Lorentz,
    Permutation,
    Scaling,
    Symplectic,
)

PUBLISHED = np.load(Path(__file__).parent / "published" / "emlp_bases.npz", allow_pickle=False)
GROUPS = {
    "SO(3)": SO3(), "O(3)": O3(), "SO(2)": SO2(), "O(2)": O2(), "SO13p": Lorentz(),
    "SL(2)": SL(2), "GL(2)": GL(2), "S(4)": Permutation(4), "Z(4)": Cyclic(4),
    "D(4)": Dihedral(4), "Scaling(3)": Scaling(3), "O13": IndefiniteOrthogonal(1, 3),
    "SO13": IndefiniteOrthogonal(1, 3, "special"), "Sp(1)": Symplectic(1),
}  # fmt: skip


def projector(key):
    name, types = key.split("|")
    a, b = (tuple(map(int, one.split(","))) for one in types.split("->"))
    basis = EquivariantMaps(Tensors(GROUPS[name], *a), Tensors(GROUPS[name], *b)).basis()
    flat = basis.flatten(0, 1).numpy()
    return flat @ flat.T


def test_no_published_group_is_left_out():
    assert {key.split("|")[0] for key in PUBLISHED.files} == set(GROUPS)


@pytest.mark.parametrize("name", GROUPS)
def test_projectors_are_those_of_emlp(name):
    keys = [key for key in PUBLISHED.files if key.split("|")[0] == name]
    assert len(keys) >= 19
    for key in keys:
        theirs = PUBLISHED[key]
        assert np.abs(projector(key) - theirs @ theirs.T).max() < 1e-12, key


def test_bases_that_are_not_of_the_group_differ():
    theirs = PUBLISHED["O(3)|1,0->2,0"]  # empty: no odd tensor is invariant to -1
    assert theirs.shape[1] == 0 and projector("SO(3)|1,0->2,0").trace() > 0.5
