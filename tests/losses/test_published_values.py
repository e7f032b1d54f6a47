"""Presets against numbers that the authors' own code computed; where from stands in the file."""

import json
from pathlib import Path

import pytest
import torch

from equivariant.losses import Side, group_ordering, preset
from equivariant.losses.temperatures.robust import TemperatureNetwork

FILE = json.loads((Path(__file__).parent / "published_values.json").read_text())
VALUES = FILE["values"]


def numbers(n, d, shift):
    return torch.sin(1.7 * torch.arange(n * d).double() + shift).reshape(n, d)


def leaf(n, d, shift):
    return numbers(n, d, shift).requires_grad_()


def agree(value, name, *leaves, factor=1.0, atol=1e-9, only_gradient=False):
    known = VALUES[name] if isinstance(name, str) else name
    gradients = torch.autograd.grad(factor * value, leaves)
    if not only_gradient:
        assert (factor * value).item() == pytest.approx(known["value"], abs=atol)
    for found, expected in zip(gradients, known["gradient"], strict=True):
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(found.flatten(), expected, rtol=0, atol=atol)


def test_every_number_says_where_it_is_from():
    assert {name.split("_")[0] for name in VALUES} == set(FILE["origin"])


def sepclr(**settings):
    c1, c2, s1, s2 = leaf(5, 3, 0.0), leaf(5, 3, 0.4), leaf(5, 2, 1.0), leaf(5, 2, 1.3)
    target = torch.tensor([1, 0, 1, 1, 0])
    loss = preset("sepclr", salient=3.0, zero=5.0, **settings).build()
    a, b = Side.of(c1, salient=s1, target=target), Side.of(c2, salient=s2, target=target)
    return loss(a=a, b=b), (c1, c2, s1, s2)


def test_sepclr():
    # Their script halves the sum over both views, which the number does not: 14 for 7.
    value, leaves = sepclr(joint=14.0, apart=True)
    agree(value.total, "sepclr_whole", *leaves)


def test_the_joint_term_counts_every_row_with_itself_and_is_bounded_below():
    c, s = leaf(5, 3, 0.0), leaf(5, 2, 1.0)
    side = Side.of(c, salient=s, target=torch.ones(5, dtype=torch.int64))
    value = preset("sepclr", apart=True).build()(a=side, b=side.replace(c * 1.0))
    known = VALUES["sepclr_joint"]["value"]
    assert value.terms["joint_a"].item() == pytest.approx(known, abs=1e-12)
    known = VALUES["sepclr_uniform"]["value"]
    assert value.terms["uniform_a"].item() == pytest.approx(known, abs=1e-12)
    far = Side.of(c, salient=1e3 * s, target=torch.ones(5, dtype=torch.int64))
    joint = preset("sepclr").build()(a=far, b=far.replace(c * 1.0)).terms["joint"]
    # Rows 2i and 2i + 1 of both views coincide: log(2 / 10).
    assert joint.item() == pytest.approx(-torch.tensor(5.0).log().item(), abs=1e-6)


def groco(*views):
    """Views take turns as queries; negatives are the other queries of the same view."""
    total = 0.0
    for n, q in enumerate(views):
        others = torch.stack([v for m, v in enumerate(views) if m != n], 1)
        valid = ~torch.eye(len(q), dtype=torch.bool)
        total = total + group_ordering(q, others, q, count=3, valid=valid).mean()
    return total / len(views)


@pytest.mark.parametrize(("name", "views"), [("groco", 2), ("groco_three", 3)])
def test_groco(name, views):
    leaves = [leaf(6, 4, shift) for shift in (0.0, 0.3, 0.6)[:views]]
    agree(groco(*leaves), name, *leaves, atol=2e-7)


def test_groco_with_the_activation_replaced_is_something_else():
    q, p = leaf(6, 4, 0.0), leaf(6, 4, 0.3)
    plain, other = (
        group_ordering(q, p[:, None], q[:3], count=3, art_lambda=x).mean() for x in (0.0, 0.25)
    )
    slopes = [torch.autograd.grad(v, q)[0] for v in (plain, other)]
    assert ((slopes[0] - slopes[1]).norm() / slopes[0].norm()) > 0.05


@pytest.mark.parametrize("softness", [0.3, None])
@pytest.mark.parametrize("translated", [True, False])
def test_protoclip(softness, translated):
    own, other = (u / u.norm(dim=1, keepdim=True) for u in (numbers(9, 3, 0.2), numbers(9, 3, 0.9)))
    cluster = torch.tensor([0, 1, 3, 3, 1, 2, 0, 0, 2])
    z = leaf(4, 3, 2.0)
    sides = {
        "a": Side.of(z, cluster=cluster[[8, 1, 3, 0]]),
        "other": Side.of(other, cluster=cluster),
    }
    name = "protoclip"
    if translated:
        name = "protoclip_pbt"
        sides["own"] = Side.of(own, cluster=cluster)
    loss = preset(name, clusters=4, softness=softness).build().double()
    agree(loss(**sides).total, f"{name}_{softness or -1.0}", z, atol=1e-6)


def test_cacr():
    a, b = leaf(5, 3, 0.0), leaf(5, 3, 0.4)
    agree(preset("cacr", candidates="other").build()(a, b).total, "cacr", a, b)
    loss = preset("cacr", candidates="other", alpha=3.0, beta=2.0, debias=0.1).build()
    agree(loss(a, b).total, "cacr_debiased", a, b)


def test_isogclr():
    loss = preset("isogclr", samples=9, shared=True).build().double()
    for step in VALUES["isogclr"]:
        a, b = leaf(4, 3, step["shift"]), leaf(4, 3, step["shift"] + 0.35)
        value = loss(a, b, sample=torch.tensor(step["index"])).total
        # Their loss sums both views.
        agree(value, step, a, b, factor=2.0, atol=1e-8, only_gradient=True)
        tau = loss.networks[0].tau[0]
        torch.testing.assert_close(tau, torch.tensor(step["tau"]).double(), rtol=0, atol=1e-8)


def test_tempnet():
    network = TemperatureNetwork(3).double()
    network.start_as_published()
    network.prototypes.data = numbers(256, 3, 0.5)
    network.project.weight.data = numbers(3, 3, 0.6)
    network.project.bias.data = numbers(1, 3, 0.7)[0]
    z = numbers(4, 3, 0.0)
    tau = network.temperature(z / z.norm(dim=1, keepdim=True))
    known = torch.tensor(VALUES["tempnet"]["tau"]).double()
    torch.testing.assert_close(tau, known, rtol=0, atol=1e-8)


def test_claps():
    a, b, decoder = leaf(4, 3, 0.0), leaf(4, 3, 0.35), numbers(5, 3, 0.7)
    words = torch.tensor([0, 3, 1, 4])

    def task_loss(h, side):
        return torch.nn.functional.cross_entropy(h @ decoder.T, words, reduction="none")

    def divergence(h, side):
        p = (side.z.detach() @ decoder.T).softmax(1)
        return (p * (p.log() - (h @ decoder.T).log_softmax(1))).sum(1)

    settings = {"negatives_twice": True, "tau_positive": 1.0}
    loss = preset("claps", task_loss=task_loss, divergence=divergence, **settings).build()
    agree(loss(a, b).total, "claps", a, b, atol=1e-8)
