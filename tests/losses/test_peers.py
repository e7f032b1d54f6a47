"""Presets against independent implementations, where these are installed."""

import pytest
import torch
import torch.nn.functional as F

from equivariant.losses import Pairs, Side, contrast, preset
from equivariant.losses.contrast.affinities import Soft

LABEL = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 0])


@pytest.fixture
def peers():
    return pytest.importorskip("pytorch_metric_learning.losses")


def draw(n, d, seed=0):
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z.requires_grad_()


def agree(ours, theirs, *inputs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    mine, other = (torch.autograd.grad(x, inputs, retain_graph=True) for x in (ours, theirs))
    assert any(bool(g.abs().sum() > 0) for g in mine)
    for x, y in zip(mine, other, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-10)


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_nt_xent(peers, tau):
    a, b = draw(6, 5), draw(6, 5, 1)
    theirs = peers.SelfSupervisedLoss(peers.NTXentLoss(temperature=tau))(a, b)
    agree(preset("nt_xent", tau=tau).build()(a=a, b=b).total, theirs, a, b)


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_supervised_contrast_in_its_outer_form(peers, tau):
    z = draw(9, 5)
    side = Side.of(z, label=LABEL)
    ours = contrast(side, side, Pairs.same("label").not_self(), tau=tau).mean()
    agree(ours, peers.SupConLoss(temperature=tau)(z, LABEL), z)


def test_the_preset_of_supervised_contrast(peers):
    a, b = draw(9, 5), draw(9, 5, 1)
    sides = {"a": Side.of(a, label=LABEL), "b": Side.of(b, label=LABEL)}
    ours = preset("supcon_out").build()(**sides).total
    agree(ours, peers.SupConLoss()(torch.cat([a, b]), LABEL.repeat(2)), a, b)


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_each_positive_alone(peers, tau):
    """Theirs averages over pairs, ours over anchors and their pairs: weights are |P_i|."""
    z = draw(9, 5)
    count = (LABEL[:, None] == LABEL).sum(1) - 1
    assert count.min() >= 1
    assert count.max() > 2
    weight = (count / count.double().mean()).double()
    side = Side.of(z, label=LABEL, weight=weight)
    pairs = Pairs.same("label").not_self()
    form = {"tau": tau, "keep": 0.0, "pull": "each", "link": "softplus"}
    agree(contrast(side, side, pairs, **form).mean(), peers.NTXentLoss(tau)(z, LABEL), z)


def test_the_preset_of_each_positive_alone_with_classes_of_one_size(peers):
    label = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])
    a, b = draw(9, 5), draw(9, 5, 1)
    sides = {"a": Side.of(a, label=label), "b": Side.of(b, label=label)}
    ours = preset("supcon_each", tau=0.2).build()(**sides).total
    agree(ours, peers.NTXentLoss(0.2)(torch.cat([a, b]), label.repeat(2)), a, b)


def test_vicreg(peers):
    a, b = draw(7, 4), draw(7, 4, 1)
    theirs = peers.VICRegLoss(invariance_lambda=25, variance_mu=15, covariance_v=2)(a, ref_emb=b)
    loss = preset("vicreg", invariance=25.0, std=15.0, cov=2.0).build()
    agree(loss(a=a, b=b, moved=a).total, theirs, a, b)


def test_soft_targets_are_cross_entropy_with_probabilities():
    q, k = draw(6, 5), draw(8, 5, 1)
    p = draw(6, 8, 2).detach().softmax(1)
    logits = F.normalize(q) @ F.normalize(k).T / 0.2
    ours = contrast(Side.of(q, targets=p), Side.of(k), Soft("targets"), tau=0.2).mean()
    agree(ours, F.cross_entropy(logits, p), q, k)


def test_one_positive_is_cross_entropy_with_indices():
    q, k = draw(6, 5), draw(6, 5, 1)
    logits = F.normalize(q) @ F.normalize(k).T / 0.1
    target = torch.arange(6)
    agree(preset("infonce").build()(a=q, b=k).total, F.cross_entropy(logits, target), q, k)
    both = F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)
    agree(preset("convirt", forward=0.5).build()(a=q, b=k).total, both / 2, q, k)
