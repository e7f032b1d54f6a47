"""Modules by their own declaration, actions by name."""

import pytest
import torch
from e3nn import nn as enn
from e3nn import o3
from torch import nn

from equivariant.actions import IrrepsAction, Permute, Points, Trivial, Vectors
from equivariant.errors import ConventionError
from equivariant.groups import O3, SE3, SO2, SO3, Affine, Permutation
from equivariant.measure import declared, equivariance_error
from equivariant.measure.named import GROUPS, directions, named_action, named_group


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measured(module):
    d = declared(module)
    x = tuple(draw(5, width, seed=k) for k, width in enumerate(d.widths))
    return equivariance_error(
        d.f, x if len(x) > 1 else x[0], act_in=d.act_in, act_out=d.act_out, law=d.law, samples=6
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: o3.Linear("4x0e + 3x1o", "2x0e + 2x1o"),
        lambda: o3.FullyConnectedTensorProduct("2x0e + 1x1o", "1x1o + 1x2e", "2x1o + 1x2e"),
        lambda: enn.Gate("4x0e", [torch.tanh], "2x0e", [torch.sigmoid], "2x1o"),
        lambda: enn.BatchNorm("4x0e + 3x1o").eval(),
    ],
)
def test_modules_of_e3nn_need_no_further_argument(build):
    torch.manual_seed(0)
    report = measured(build().double())
    # e3nn keeps some constants in single precision
    assert report.value("worst") < 1e-6 and report.group == "O3()"


def test_a_false_declaration_is_caught():
    class Liar(nn.Linear):
        irreps_in, irreps_out = "3x1o", "3x1o"

    torch.manual_seed(0)
    assert measured(Liar(9, 9).double()).value() > 0.3
    parity = o3.Linear("2x1o", "2x1o").double()
    parity.irreps_out = o3.Irreps("2x1e")
    report = measured(parity)
    assert report.special["half turn 0"][""] < 1e-9 and report.special["inversion"][""] == 2.0
    with pytest.raises(ConventionError, match="irreps_in"):
        declared(nn.Linear(3, 3))


@pytest.mark.parametrize("name", list(GROUPS))
def test_every_named_group_has_its_directions(name):
    group = named_group(name)
    found = directions(group)
    if found is not None:
        rows = torch.stack(list(found.values()))
        assert rows.shape[1] == group.dim
        assert int(torch.linalg.matrix_rank(rows)) == group.dim


@pytest.mark.parametrize(
    "name, group, kind, shape",
    [
        ("points", SE3(), Points, (128, 3)),
        ("points:7", SO2(), Points, (7, 2)),
        ("vectors:4", SO3(), Vectors, (12,)),
        ("irreps:2x0e+1x2e", O3(), IrrepsAction, (7,)),
        ("invariant:5", SO3(), Trivial, (5,)),
        ("rows:6x2", Permutation(6), Permute, (6, 2)),
    ],
)
def test_actions_by_name(name, group, kind, shape):
    named = named_action(name, group)
    assert isinstance(named.action, kind) and named.shape == shape
    x = named.draw(3, torch.Generator().manual_seed(0))
    assert x.shape == (3, *shape) and x.dtype == torch.float64
    g = group.sample(generator=torch.Generator().manual_seed(1))
    assert named.action(g, x).shape == x.shape


def test_sizes_are_read_from_what_moves():
    like = torch.zeros(2, 3, 8, 9)
    assert named_action("image", Affine(2), like=like).shape == (3, 8, 9)
    assert named_action("vectors", SO3(), like=torch.zeros(2, 12)).action.dim == 12
    assert named_action("invariant", SO3(), like=torch.zeros(2, 12)).action.dim == 12


@pytest.mark.parametrize(
    "name, group, message",
    [
        ("cloud", SO3(), "one of points"), ("points:x", SO3(), "sizes"),
        ("image:3x4", SO2(), "3 sizes"), ("points:0", SO3(), "at least 1"),
    ],
)  # fmt: skip
def test_wrong_names_are_refused(name, group, message):
    with pytest.raises(ConventionError, match=message):
        named_action(name, group)
    with pytest.raises(ConventionError, match="Permutation with rows"):
        named_group("Permutation")
