"""Modules by their own declaration, actions by name."""

import pytest
import torch
from e3nn import nn as enn
from e3nn import o3
from e3nn.nn.models import gate_points_2101, gate_points_2102
from e3nn.nn.models.v2106 import gate_points_networks as gate_points_2106
from torch import nn

from equivariant.actions import IrrepsAction, Permute, Points, Trivial, Vectors
from equivariant.actions.by_name import directions, group_names, named_action, named_group
from equivariant.errors import ConventionError
from equivariant.groups import E3, O3, SE3, SO2, SO3, Affine, Permutation
from equivariant.measure import declared, equivariance_error
from equivariant.tree import call


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measured(module):
    d = declared(module)
    return equivariance_error(
        d.f, d.draw(5), act_in=d.act_in, act_out=d.act_out, law=d.law, samples=6
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


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    "build",
    [
        lambda **k: o3.FullyConnectedTensorProduct("2x0e + 1x1o", "1x1o", "2x1o + 1x1e", **k),
        lambda **k: o3.TensorProduct(
            "2x0e + 1o", "1o", "2x1o + 1e", [(0, 0, 0, "uvu", True), (1, 0, 1, "uuu", False)], **k
        ),
        lambda **k: o3.Linear("4x0e + 3x1o", "2x0e + 2x1o", **k),
        lambda **k: o3.TensorSquare("2x0e + 1x1o", "1x1o + 1x2e", **k),
    ],
)
def test_weights_from_outside(build, shared):
    module = build(internal_weights=False, shared_weights=shared).double()
    d = declared(module)
    x = d.draw(3)
    inputs = 1 if isinstance(x, torch.Tensor) else len(x)
    assert d.widths[-1:] == (module.weight_numel,) or shared
    assert measured(module).value("worst") < 1e-6
    torch.testing.assert_close(
        call(d.f, x), call(declared(module).f, x), msg="held weights are the same each time"
    )
    if not shared:
        torch.testing.assert_close(call(d.f, x), module(*x))
    broken = build(internal_weights=False, shared_weights=shared).double()
    broken.irreps_out = o3.Irreps([(n, (ir.l, -ir.p)) for n, ir in broken.irreps_out])
    assert measured(broken).special["inversion"][""] == pytest.approx(2.0, rel=1e-14)
    assert inputs == len(d.widths)


def test_biases_from_outside_and_squares_with_weights_of_their_own():
    linear = o3.Linear(
        "2x0e + 1x1o", "3x0e", internal_weights=False, shared_weights=True, biases=True
    ).double()
    d = declared(linear)
    x = d.draw(2)
    torch.testing.assert_close(d.f(x), linear(x, d.f.weight0, d.f.weight1))
    assert measured(linear).value("worst") < 1e-6
    assert measured(o3.TensorSquare("2x0e + 1x1o", "1x2e").double()).value("worst") < 1e-6


def network(module, **options):
    facts = {
        "irreps_in": "2x0e + 1x1e", "irreps_hidden": "2x0e + 1x1o", "irreps_out": "1x0e + 1x1o",
        "irreps_node_attr": "2x0e", "irreps_edge_attr": "1x0e + 1x1o", "layers": 1,
        "max_radius": 2.0, "number_of_basis": 3, "radial_layers": 1, "radial_neurons": 4,
        "num_neighbors": 2.0, "num_nodes": 3.0,
    }  # fmt: skip
    return module.Network(**{**facts, **options})


NETWORKS = {
    "2101": lambda: network(gate_points_2101),
    "2101, no features, not pooled": lambda: network(
        gate_points_2101, irreps_in=None, irreps_node_attr=None, reduce_output=False
    ),
    "2102": lambda: network(gate_points_2102),
    "2106": lambda: gate_points_2106.SimpleNetwork(
        "2x0e + 1x1o", "1x0e + 1x1o", 2.0, 2.0, 3.0, mul=2, layers=1, lmax=1, pool_nodes=False
    ),
    "2106 with attributes": lambda: gate_points_2106.NetworkForAGraphWithAttributes(
        "1x0e + 1x1o", "2x0e", "1x1e", "1x0o + 1x1e", 2.0, 2.0, 3.0, mul=2, layers=1, lmax=1
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_e3nn_need_no_further_argument(name):
    torch.manual_seed(0)
    module = NETWORKS[name]().double().eval()
    d = declared(module)
    x = d.draw(3)
    assert d.act_in.group == E3() and d.act_in.items(x) == 3 and d.widths == ()
    report = equivariance_error(d.f, x, act_in=d.act_in, act_out=d.act_out, samples=2)
    assert report.value("worst") < 1e-6
    # the network sees other graphs of the batch not at all, and a lie is told from the truth
    torch.testing.assert_close(call(d.f, x)["output"], module(x))
    output = "irreps_node_output" if hasattr(module, "irreps_node_output") else "irreps_out"
    wrong = o3.Irreps([(n, (ir.l, -ir.p)) for n, ir in getattr(module, output)])
    setattr(module, output, wrong)
    lie = declared(module)
    found = equivariance_error(lie.f, x, act_in=lie.act_in, act_out=lie.act_out, samples=2)
    assert found.special["inversion"]["output"] > 1.9


def test_other_modules_that_take_data_are_no_networks_of_e3nn():
    class Takes(nn.Module):
        max_radius, num_nodes = 1.0, 2.0

        def forward(self, data):
            return data

    with pytest.raises(ConventionError, match="irreps_in"):
        declared(Takes())


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


@pytest.mark.parametrize("name", list(group_names()))
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
