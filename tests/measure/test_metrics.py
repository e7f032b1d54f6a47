"""Every published number against its own formula, written out in loops."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from equivariant.actions import Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO3, Sampler, Weighted
from equivariant.measure import METRICS, equivariance_error
from equivariant.measure.error.metrics import metric

ITEMS, SAMPLES, CHANNELS = 5, 7, 3


class Recorded(Sampler):
    """A law that keeps what was drawn, item by item."""

    def __init__(self):
        self.group, self.drawn = SO3(), []

    def draw(self, *batch, generator):
        elements = SO3().sample(*batch, generator=generator)
        self.drawn.append(elements)
        return Weighted(elements, torch.ones(batch, dtype=torch.float64))


@pytest.fixture(scope="module")
def measured():
    """A report on a network, and both ways round the square for every item and element."""
    torch.manual_seed(0)
    width = 3 * CHANNELS
    f = nn.Sequential(nn.Linear(width, 16), nn.Tanh(), nn.Linear(16, width)).double()
    x = torch.randn(ITEMS, width, dtype=torch.float64)
    law, action = Recorded(), Vectors(SO3(), CHANNELS)
    report = equivariance_error(
        f, x, act_in=action, act_out=action, samples=SAMPLES, law=law, orbit_variance=True
    )
    g = torch.stack([drawn[:SAMPLES] for drawn in law.drawn[:ITEMS]])
    with torch.no_grad():
        left = torch.stack([torch.stack([f(action(h, x[i])) for h in g[i]]) for i in range(ITEMS)])
        right = torch.stack([torch.stack([action(h, f(x[i])) for h in g[i]]) for i in range(ITEMS)])
        plain = f(x)
    return report, left.numpy(), right.numpy(), g.numpy(), plain.numpy()


def mean(values):
    return float(np.mean([[values(i, s) for s in range(SAMPLES)] for i in range(ITEMS)]))


norm = np.linalg.norm


def published(left, right, g, plain):
    """Each formula as its source has it."""

    def rms(v):
        return math.sqrt(np.mean(np.square(v)))

    def batch(s):  # a batch of items, each with an element of its own, as EMLP's tests have it
        return left[:, s], right[:, s], g[:, s]

    def emlp(s, scaled):
        a, b, h = batch(s)
        whole = rms(a) + rms(b)
        return rms(a - b) / (max(whole, rms(h - np.eye(3))) if scaled else whole)

    def e(i, s):
        return left[i, s] - right[i, s]

    back = np.einsum("isba,iscb->isca", g, left.reshape(ITEMS, SAMPLES, CHANNELS, 3)).reshape(
        left.shape
    )
    spread = np.mean([norm(y - plain.mean(0)) ** 2 for y in plain])
    return {
        "relative": mean(
            lambda i, s: norm(e(i, s)) / (0.5 * (norm(left[i, s]) + norm(right[i, s])))
        ),
        "absolute": mean(lambda i, s: norm(e(i, s))),
        "rms": mean(lambda i, s: rms(e(i, s))),
        "relative_to_right": mean(lambda i, s: norm(e(i, s)) / norm(right[i, s])),
        "normalized_mse": mean(lambda i, s: norm(e(i, s)) ** 2) / spread,
        "max": np.abs(left - right).max(),
        "worst": max(
            norm(e(i, s)) / (0.5 * (norm(left[i, s]) + norm(right[i, s])))
            for i in range(ITEMS)
            for s in range(SAMPLES)
        ),
        "e3nn": np.abs(left - right).max(),
        "escnn": mean(lambda i, s: np.abs(e(i, s)).mean()),
        "escnn_failures": mean(
            lambda i, s: not np.allclose(left[i, s], right[i, s], atol=1e-7, rtol=1e-5)
        ),
        "emlp": np.mean([emlp(s, False) for s in range(SAMPLES)]),
        "emlp_scaled": np.mean([emlp(s, True) for s in range(SAMPLES)]),
        "per": mean(lambda i, s: norm(e(i, s)) / (norm(left[i, s]) + norm(right[i, s]))),
        "remul_1": np.mean([norm(np.mean(left[i] - right[i], 0)) for i in range(ITEMS)]),
        "remul_2": np.mean([np.mean([norm(v) for v in left[i] - right[i]]) for i in range(ITEMS)]),
        "eq_psnr": 10 * math.log10(2.0**2 / np.mean((left - right) ** 2)),
        "orbit_variance": np.mean(
            [np.mean([norm(v - back[i].mean(0)) ** 2 for v in back[i]]) for i in range(ITEMS)]
        ),
    }


CLASSES = ("flip_rate", "label_consistency", "kl", "total_variation", "margin_change")


@pytest.mark.parametrize("name", [name for name in METRICS if name not in CLASSES])
def test_a_published_number(name, measured):
    report, left, right, g, plain = measured
    assert report.value(name) == pytest.approx(published(left, right, g, plain)[name], rel=1e-10)
    if METRICS[name].reduce == "mean":
        assert report.estimate(name).value == pytest.approx(report.value(name))
    else:
        with pytest.raises(ConventionError, match="mean"):
            report.estimate(name)


def test_allclose_fails_where_numpy_says_so():
    """escnn's tolerance, on both sides of it."""
    x, off = torch.ones(1, 3, dtype=torch.float64), 1e-5 + 1e-7
    for factor, failures in ((0.99, 0.0), (1.01, 1.0)):
        calls = iter([0.0, 0.0, *[factor * off] * 50])
        report = equivariance_error(
            lambda v, calls=calls: v + next(calls), x, act_in=Trivial(3, SO3()), act_out=Trivial(3),
            samples=3,
        )  # fmt: skip
        assert report.value("escnn_failures") == failures


@pytest.fixture(scope="module")
def classified():
    torch.manual_seed(1)
    f = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 4)).double()
    x, law = torch.randn(ITEMS, 3, dtype=torch.float64), Recorded()
    report = equivariance_error(
        f, x, act_in=Vectors(SO3()), act_out=Trivial(4), samples=SAMPLES, law=law, logits=True
    )
    with torch.no_grad():
        left = torch.stack(
            [torch.stack([f(h @ x[i]) for h in law.drawn[i][:SAMPLES]]) for i in range(ITEMS)]
        )
        return report, left.numpy(), f(x).numpy()


def test_predictions_by_loops(classified):
    report, left, plain = classified

    def p(v):
        return np.exp(v) / np.exp(v).sum()

    def margin(v, k):
        return v[k] - max(v[j] for j in range(len(v)) if j != k)

    flip = mean(lambda i, s: left[i, s].argmax() != plain[i].argmax())
    expected = {
        "flip_rate": flip,
        "label_consistency": 1 - flip,
        "kl": mean(lambda i, s: (p(plain[i]) * np.log(p(plain[i]) / p(left[i, s]))).sum()),
        "total_variation": mean(lambda i, s: 0.5 * np.abs(p(plain[i]) - p(left[i, s])).sum()),
        "margin_change": mean(
            lambda i, s: abs(
                margin(left[i, s], plain[i].argmax()) - margin(plain[i], plain[i].argmax())
            )
        ),
    }
    assert 0 < flip < 1
    for name in CLASSES:
        assert report.value(name) == pytest.approx(expected[name], rel=1e-10)
    low, high = (
        report.estimate("label_consistency").low,
        report.estimate("label_consistency").high,
    )
    assert low <= report.value("label_consistency") <= high


def test_what_was_not_asked_for_is_refused(measured):
    x, action = torch.randn(3, 3, dtype=torch.float64), Vectors(SO3())
    report = equivariance_error(torch.sin, x, act_in=action, act_out=action, samples=2)
    with pytest.raises(ConventionError, match="orbit_variance=True"):
        report.value("orbit_variance")
    with pytest.raises(ConventionError, match="logits=True"):
        report.value("kl")
    with pytest.raises(ConventionError, match="one of"):
        metric("accuracy")
    with pytest.raises(ShapeError, match="classes"):
        equivariance_error(
            lambda v: v[:, :1], x, act_in=action, act_out=Trivial(1), samples=2, logits=True
        )


def test_quantiles_are_those_of_the_draws(measured):
    report = measured[0]
    values = report.errors().flatten().sort().values
    assert report.quantile(0.0) == values[0] and report.quantile(1.0) == values[-1]
    assert report.quantile(0.5) == values[len(values) // 2]
    assert 0 < report.exceeded_share() < 1
