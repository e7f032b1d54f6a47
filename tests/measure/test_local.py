"""Local errors against closed forms, finite motions, differences; trees, graphs, masks."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from equivariant.actions import IrrepsAction, Points, Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SE3, SO2, SO3
from equivariant.measure import local_equivariance_error
from equivariant.measure.motions.graph_motion import GraphMotion
from equivariant.measure.motions.motion import FunctionMotion, as_motion


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(*widths, seed=0):
    """A smooth random network in float64."""
    layers = []
    for k, (a, b) in enumerate(pairwise(widths)):
        linear = nn.Linear(a, b, dtype=torch.float64)
        linear.weight.data = draw(b, a, seed=seed + k) / a**0.5
        linear.bias.data = draw(b, seed=seed + k + 50)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1]).requires_grad_(False)


def test_linear_maps_against_the_commutator():
    action_in, action_out = IrrepsAction("1x0e + 1x1o", SO3()), IrrepsAction("1x2e", SO3())
    W, x = draw(5, 4), draw(16, 4, seed=1)
    report = local_equivariance_error(lambda x: x @ W.T, x, act_in=action_in, act_out=action_out)
    h = 1e-5
    plus, minus = (SO3().exp(s * h * torch.eye(3, dtype=torch.float64)) for s in (1, -1))
    d_in = (action_in.matrix(plus) - action_in.matrix(minus)) / (2 * h)
    d_out = (action_out.matrix(plus) - action_out.matrix(minus)) / (2 * h)
    lie = torch.einsum("aij,nj->nai", W @ d_in - d_out @ W, x)
    torch.testing.assert_close(report.overall.gram_of_item, lie @ lie.mT, atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(report.overall.lee, lie.square().sum(-1).mean(0) / 5, rtol=1e-7,
                               atol=1e-7)  # fmt: skip
    y = x @ W.T
    spread = (y - y.mean(0)).square().sum(-1).mean()
    assert report.overall.scale == pytest.approx(float(spread))
    assert report.disagreement < 1e-8


@pytest.mark.parametrize("group", [SO3(), SE3()], ids=str)
def test_zero_on_equivariant_maps_and_differences_agree(group):
    cloud = draw(3, 7, 3)
    equivariant = local_equivariance_error(
        lambda p: p.mean(1, keepdim=True), cloud, act_in=Points(group), act_out=Points(group)
    )
    assert equivariant.overall.lee.max() < 1e-28
    net = network(21, 8, 4)
    arguments = {"act_in": Points(group), "act_out": Trivial(4)}
    forward, differences = (
        local_equivariance_error(lambda p: net(p.flatten(1)), cloud, method=m, **arguments)
        for m in ("forward", "differences")
    )
    torch.testing.assert_close(
        forward.overall.gram_of_item, differences.overall.gram_of_item, atol=1e-9, rtol=1e-9
    )
    assert forward.overall.lee.min() > 1e-4


def test_the_local_error_is_the_limit_of_the_finite_one():
    net, x, group = network(3, 8, 3), draw(20, 3), SO3()
    X = draw(3, seed=3)
    report = local_equivariance_error(
        net, x, act_in=Vectors(group), act_out=Vectors(group), directions={"X": X}
    )
    r = 1e-5
    g = group.exp(r * X)
    finite = (net(x @ g.T) - net(x) @ g.T).square().sum(-1).mean() / r**2
    torch.testing.assert_close(report.overall.gram[0, 0], finite, rtol=1e-3, atol=0)
    assert report.names == ("X",)
    assert "X: " in str(report)


def test_the_error_is_linear_in_the_direction():
    net, x = network(3, 8, 3), draw(6, 3)
    V = draw(2, 3, seed=5)
    arguments = {"act_in": Vectors(SO3()), "act_out": Vectors(SO3())}
    basis = local_equivariance_error(net, x, **arguments).overall.gram_of_item
    other = local_equivariance_error(
        net, x, directions={"u": V[0], "v": V[1]}, **arguments
    ).overall.gram_of_item
    torch.testing.assert_close(other, V @ basis @ V.T)


def test_trees_and_the_published_number():
    net, cloud = network(21, 8, 5), draw(4, 7, 3)

    def f(tree):
        logits = net(tree["cloud"].flatten(1))
        return {"logits": logits, "centre": tree["cloud"].mean(1) + 0.1 * tree["cloud"][:, 0] ** 2}

    report = local_equivariance_error(
        f,
        {"cloud": cloud, "note": "kept"},
        act_in={"cloud": Points(SO3()), "note": None},
        act_out={"logits": Trivial(5), "centre": Vectors(SO3())},
    )
    assert set(report.parts) == {"logits", "centre"}
    both = report.parts["logits"].gram + report.parts["centre"].gram
    torch.testing.assert_close(report.overall.gram, both)
    assert report.overall.entries == 8
    h, w = 1e-5, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    ahead, behind = (net((cloud @ SO3().exp(s * h * w).T).flatten(1)).softmax(-1) for s in (1, -1))
    expected = ((ahead - behind) / (2 * h)).abs().mean(-1)
    torch.testing.assert_close(
        report.parts["logits"].lie_deriv[:, 1], expected, atol=1e-9, rtol=1e-6
    )


def test_graphs_add_up_their_nodes():
    x = {"pos": draw(5, 3), "batch": torch.tensor([0, 0, 0, 1, 1])}

    def f(data):
        return {"vectors": data["pos"] * data["pos"][:, :1], "batch": data["batch"]}

    report = local_equivariance_error(
        f,
        x,
        act_in=GraphMotion(nodes={"pos": Points(SO3())}),
        act_out=GraphMotion(nodes={"vectors": Vectors(SO3())}),
    )
    single = local_equivariance_error(
        lambda p: p * p[:, :1], x["pos"], act_in=Vectors(SO3()), act_out=Vectors(SO3())
    )
    values = single.overall.gram_of_item
    expected = torch.stack([values[:3].sum(0), values[3:].sum(0)])
    torch.testing.assert_close(report.overall.gram_of_item, expected)
    assert report.overall.entries == 7.5


def test_masked_entries_are_left_out():
    class Masked(FunctionMotion):
        def mask(self, g, name):
            return torch.tensor([True, False])

    turn = lambda g, x: x @ g.mT  # noqa: E731
    x = draw(4, 2)
    full = local_equivariance_error(
        lambda x: x**2, x, act_in=turn, act_out=turn, group=SO2()
    ).overall
    half = local_equivariance_error(
        lambda x: x**2, x, act_in=turn, act_out=Masked(turn, SO2()), group=SO2()
    ).overall
    assert half.entries == 1
    assert half.gram < full.gram


def test_what_forward_mode_cannot_do_is_said():
    x = draw(6, 3)
    arguments = {"act_in": Vectors(SO3()), "act_out": Trivial(6)}
    with pytest.raises(ConventionError, match="differences"):
        local_equivariance_error(lambda x: torch.cdist(x[None], x[None])[0], x, **arguments)
    arguments["act_out"] = Trivial(3)
    hidden = local_equivariance_error(lambda x: torch.sin(x.detach()), x, **arguments)
    assert hidden.disagreement > 0.9
    honest = local_equivariance_error(torch.sin, x, **arguments)
    assert honest.disagreement < 1e-9
    by_differences = local_equivariance_error(
        lambda x: torch.sin(x.detach()), x, method="differences", **arguments
    )
    torch.testing.assert_close(by_differences.overall.gram, honest.overall.gram)


def test_forces_by_an_inner_gradient():
    net = network(3, 8, 1)

    def force(x):
        with torch.enable_grad():
            x = x if x.requires_grad else x.requires_grad_()
            return torch.autograd.grad(net(x).sum(), x, create_graph=True)[0]

    report = local_equivariance_error(
        force, draw(5, 3), act_in=Vectors(SO3()), act_out=Vectors(SO3())
    )
    assert report.disagreement < 1e-8
    assert report.overall.lee.min() > 0


def test_single_precision_and_wrong_arguments():
    x = draw(5, 3).float()
    report = local_equivariance_error(
        lambda x: 2 * x, x, act_in=Vectors(SO3()), act_out=Vectors(SO3())
    )
    assert report.overall.lee.max() < 1e-12
    arguments = {"act_in": Vectors(SO3()), "act_out": Vectors(SO3())}
    with pytest.raises(ShapeError, match="coordinates"):
        local_equivariance_error(torch.sin, x, directions={"a": torch.zeros(2)}, **arguments)
    with pytest.raises(ConventionError, match="direction"):
        local_equivariance_error(torch.sin, x, directions={}, **arguments)
    with pytest.raises(ShapeError, match="one row per item"):
        local_equivariance_error(lambda x: x[:2], x, **arguments)
    assert as_motion(Trivial(3)).items(x) == 5
