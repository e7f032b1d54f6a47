"""Gauges by loops and by autograd; planted structure must be seen, its absence too."""

import math

import pytest
import torch

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import hardness, isotropy, modality_gap, score_histogram, tolerance


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a, b):
    return float(a @ b / a.norm() / b.norm())


def test_tolerance_by_loops():
    z, label = draw(9, 4), torch.tensor([5, 5, -2, 7, 5, -2, 7, 7, 100])
    pairs = [
        cosine(z[i], z[j]) for i in range(9) for j in range(9) if i != j and label[i] == label[j]
    ]
    assert float(tolerance(z, label)) == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)
    with pytest.raises(ConventionError, match="one label"):
        tolerance(z, torch.arange(9))
    with pytest.raises(ConventionError, match="one label"):
        tolerance(z[:0], label[:0])


def test_score_histogram_by_loops():
    scores, positive = torch.tanh(draw(6, 7)), draw(6, 7, seed=1) > 0.5
    valid = draw(6, 7, seed=2) > -0.5
    got = score_histogram(scores, positive, valid=valid, bins=8)
    counts = {True: [0] * 8, False: [0] * 8}
    for i in range(6):
        for j in range(7):
            if valid[i, j]:
                counts[bool(positive[i, j])][int((float(scores[i, j]) + 1) / 0.25)] += 1
    assert got.positive.tolist() == counts[True]
    assert got.negative.tolist() == counts[False]
    torch.testing.assert_close(got.edges, torch.linspace(-1, 1, 9))
    everything = score_histogram(scores, positive, bins=8)
    assert int(everything.positive.sum() + everything.negative.sum()) == 42


def test_histogram_ends_and_overlap():
    scores = torch.tensor([[1.0, 1.0000001, -1.5, 3.0]])
    none = torch.zeros(1, 4, dtype=torch.bool)
    assert score_histogram(scores, none, bins=4).negative.tolist() == [1, 0, 0, 3]
    assert math.isnan(score_histogram(scores, none).overlap)
    alike = torch.tensor([[0.5, 0.5]])
    assert score_histogram(alike, torch.tensor([[True, False]])).overlap == 1.0
    with pytest.raises(ConventionError, match="bins"):
        score_histogram(scores, none, bins=0)
    with pytest.raises(ConventionError, match="high"):
        score_histogram(scores, none, low=1.0, high=1.0)


def info_nce(scores, positive, valid, tau):
    logits = (scores / tau).masked_fill(~valid, -torch.inf)
    logp = logits.log_softmax(1)
    return sum(-logp[i][positive[i] & valid[i]].mean() for i in range(len(scores)))


@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_hardness_is_the_gradient_by_autograd_in_quantiles(tau):
    scores = torch.tanh(draw(5, 11)).requires_grad_()
    positive = torch.zeros(5, 11, dtype=torch.bool)
    positive[:, :2] = True
    valid = draw(5, 11, seed=1) > -1.0
    valid[:, [0, 5]] = True
    (gradient,) = torch.autograd.grad(info_nce(scores, positive, valid, tau), scores)
    got = hardness(scores, positive, tau=tau, valid=valid, quantiles=4)
    mass, pull = [0.0] * 4, 0.0
    for i in range(5):
        push = [j for j in range(11) if valid[i, j] and not positive[i, j]]
        push.sort(key=lambda j: scores[i, j].item())
        for rank, j in enumerate(push):
            mass[4 * rank // len(push)] += gradient[i, j].item() / 5
        pull += sum(abs(gradient[i, j].item()) for j in range(2) if valid[i, j]) / 5
    torch.testing.assert_close(got.mass, torch.tensor(mass, dtype=torch.float64))
    assert float(got.pull) == pytest.approx(pull, rel=1e-10)
    assert got.anchors == 5
    assert float(got.share.sum()) == pytest.approx(1.0)


def test_small_temperatures_push_the_hardest_only():
    scores, positive = torch.tanh(draw(20, 41)), torch.zeros(20, 41, dtype=torch.bool)
    positive[:, 0] = True
    cold, warm = (hardness(scores, positive, tau=t).share for t in (0.01, 100.0))
    assert float(cold[-1]) > 0.99
    torch.testing.assert_close(warm, torch.full((10,), 0.1).double(), rtol=0.05, atol=0)


def test_hardness_leaves_out_anchors_without_a_pair_and_refuses_none():
    scores, positive = draw(4, 6), torch.zeros(4, 6, dtype=torch.bool)
    positive[:2, 0] = True
    some = hardness(scores, positive, tau=0.1)
    assert some.anchors == 2
    torch.testing.assert_close(some.mass, hardness(scores[:2], positive[:2], tau=0.1).mass)
    with pytest.raises(ConventionError, match="an anchor with"):
        hardness(scores, torch.ones_like(positive), tau=0.1)
    with pytest.raises(ConventionError, match="tau"):
        hardness(scores, positive, tau=0.0)
    with pytest.raises(ConventionError, match="quantiles"):
        hardness(scores, positive, tau=0.1, quantiles=0)


def test_isotropy_by_loops():
    z = draw(8, 3) + 0.5
    got = isotropy(z)
    pairs = [cosine(z[i], z[j]) for i in range(8) for j in range(i)]
    assert float(got.mean_cosine) == pytest.approx(sum(pairs) / len(pairs), rel=1e-10)
    _, vectors = torch.linalg.eigh(z.T @ z)
    partition = [
        sum(math.exp(sign * float(row @ vectors[:, k])) for row in z)
        for k in range(3)
        for sign in (1, -1)
    ]
    assert float(got.partition) == pytest.approx(min(partition) / max(partition), rel=1e-10)
    values = torch.linalg.eigvalsh(torch.cov(z.T))
    expected = float(values.sum() ** 2 / values.square().sum())
    assert float(got.dimension) == pytest.approx(expected, rel=1e-10)


def test_isotropy_sees_cones_lines_and_evenness():
    even = isotropy(torch.cat([torch.eye(4), -torch.eye(4)]).double())
    assert float(even.partition) == pytest.approx(1.0)
    assert float(even.mean_cosine) == pytest.approx(-1 / 7)
    assert float(even.dimension) == pytest.approx(4.0)
    cone = isotropy(0.1 * draw(50, 4) + torch.tensor([5.0, 0, 0, 0]).double())
    assert float(cone.partition) < 0.1
    assert float(cone.mean_cosine) > 0.9
    line = isotropy(draw(50, 1) * torch.ones(1, 4).double())
    assert float(line.dimension) == pytest.approx(1.0)
    assert math.isfinite(float(isotropy(1e3 * draw(9, 3)).partition))
    with pytest.raises(ShapeError, match="two rows"):
        isotropy(draw(1, 3))


def test_modality_gap():
    u, v = draw(400, 6), draw(400, 6, seed=1)
    none = modality_gap(u, v)
    assert float(none.separability) == pytest.approx(0.5, abs=0.08)
    shift = torch.tensor([4.0, 0, 0, 0, 0, 0]).double()
    gap = modality_gap(u + shift, v - shift)
    assert float(gap.separability) > 0.99
    left, right = (torch.nn.functional.normalize(x).mean(0) for x in (u + shift, v - shift))
    torch.testing.assert_close(gap.direction, left - right)
    torch.testing.assert_close(gap.distance, (left - right).norm())
    assert float(modality_gap(u, u).distance) == 0.0
    assert float(modality_gap(u, u).separability) == 0.5


def test_separability_is_measured_on_rows_that_were_not_fitted():
    """Broken twin: with more columns than rows, the fitted rows themselves always part."""
    u, v = draw(30, 200), draw(30, 200, seed=1)
    rows = torch.nn.functional.normalize(torch.cat([u, v]))
    sign = torch.ones(60).double()
    sign[30:] = -1
    fitted = torch.linalg.lstsq(rows, sign[:, None]).solution
    assert float(((rows @ fitted)[:, 0] * sign > 0).double().mean()) == 1.0
    assert float(modality_gap(u, v).separability) < 0.8


def test_gauges_in_half_precision_have_no_gradient():
    z = draw(8, 4).half().requires_grad_()
    label = torch.arange(8) // 2
    scores = z @ z.T
    same = label[:, None] == label
    values = [tolerance(z, label), *vars(isotropy(z)).values(), *vars(modality_gap(z, -z)).values()]
    values += [hardness(scores, same, tau=0.1).mass]
    for value in values:
        assert value.dtype == torch.float32
        assert not value.requires_grad
        assert bool(value.isfinite().all())


def test_refusals_of_the_gap():
    with pytest.raises(ShapeError, match="two rows"):
        modality_gap(draw(1, 3), draw(1, 3))
    with pytest.raises(ShapeError, match="belongs to row"):
        modality_gap(draw(3, 3), draw(2, 3))
    with pytest.raises(ConventionError, match="ridge"):
        modality_gap(draw(3, 3), draw(3, 3), ridge=0.0)
