"""The Gaussian classifier against Bayes' rule by loops, scikit-learn, and known Gaussians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import ConventionError, EquivariantError, ShapeError
from equivariant.nn.heads.gaussian_classifier import (
    WEIGHTS,
    GaussianClassifier,
    choose_weight,
    ensembled,
)


def drawn(rows=60, width=5, classes=3, seed=0):
    source = torch.Generator().manual_seed(seed)
    y = torch.arange(rows) % classes
    mixing = torch.randn(width, width, generator=source, dtype=torch.float64)
    means = torch.randn(classes, width, generator=source, dtype=torch.float64)
    noise = torch.randn(rows, width, generator=source, dtype=torch.float64)
    return means[y] + noise @ mixing, y


def by_loops(x, y, query, ridge=None, prior=None):
    """Residuals one row at a time, an inverse by NumPy, logits one class at a time."""
    x, y, query = x.numpy(), y.numpy(), query.numpy()
    n, d = x.shape
    c = y.max() + 1
    means = [np.mean([x[i] for i in range(n) if y[i] == k], axis=0) for k in range(c)]
    scatter = np.zeros((d, d))
    for i in range(n):
        r = x[i] - means[y[i]]
        scatter += np.outer(r, r)
    covariance = scatter / (n - 1)
    if ridge is None:
        inverse = d * np.linalg.inv(scatter + np.trace(covariance) * np.eye(d))
    else:
        shrunk = (1 - ridge) * covariance + ridge * np.trace(covariance) / d * np.eye(d)
        inverse = np.linalg.inv(shrunk)
    prior = np.full(c, 1 / c) if prior is None else prior
    return np.array(
        [
            [
                q @ inverse @ means[k] - means[k] @ inverse @ means[k] / 2 + math.log(prior[k])
                for k in range(c)
            ]
            for q in query
        ]
    ), inverse


@pytest.mark.parametrize("ridge", [None, 0.0, 0.3, 1.0])
def test_formula(ridge):
    x, y = drawn()
    query = torch.randn(7, 5, dtype=torch.float64)
    expected, _ = by_loops(x, y, query, ridge)
    np.testing.assert_allclose(GaussianClassifier(x, y, ridge=ridge)(query), expected, rtol=1e-9)


def test_scikit_learn_with_the_same_covariance():
    """Its discriminant for a supplied covariance has our logits."""
    analysis = pytest.importorskip("sklearn.discriminant_analysis", reason="no scikit-learn")
    x, y = drawn()
    query = torch.randn(9, 5, dtype=torch.float64)
    _, inverse = by_loops(x, y, query)

    class Supplied:
        def fit(self, rows):
            self.covariance_ = np.linalg.inv(inverse)
            return self

    prior = np.array([0.5, 0.3, 0.2])
    theirs = analysis.LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=Supplied(), priors=prior
    ).fit(x.numpy(), y.numpy())
    ours = GaussianClassifier(x, y, prior=torch.tensor(prior))(query)
    np.testing.assert_allclose(ours, theirs.decision_function(query.numpy()), rtol=1e-8)


@pytest.mark.parametrize("ridge", [0.1, 0.7])
def test_scikit_learns_shrinkage(ridge):
    """With equal classes its shrunk covariance is ours, but for the divisor n instead of n - 1."""
    analysis = pytest.importorskip("sklearn.discriminant_analysis", reason="no scikit-learn")
    x, y = drawn()
    theirs = analysis.LinearDiscriminantAnalysis(solver="lsqr", shrinkage=ridge)
    theirs.fit(x.numpy(), y.numpy())
    ours = GaussianClassifier(x, y, ridge=ridge)(x) + math.log(3)
    other = torch.from_numpy(theirs.decision_function(x.numpy())) + math.log(3)
    torch.testing.assert_close(ours * len(x) / (len(x) - 1), other)


def test_twin_without_the_trace_is_told_apart():
    x, y = drawn(rows=12)
    _, inverse = by_loops(x, y, x[:1])
    precision = GaussianClassifier(x, y).precision
    torch.testing.assert_close(precision, torch.from_numpy(inverse))
    twin = GaussianClassifier(x, y, ridge=0.0).precision * 5 / 11
    assert (twin - precision).abs().max() > 0.1 * precision.abs().max()


def test_known_gaussians_reach_bayes():
    """With ten thousand rows the boundary is that of the true means and covariance."""
    source = torch.Generator().manual_seed(1)
    root = torch.tensor([[3.0, 0.0], [2.0, 0.5]], dtype=torch.float64)
    means = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    y = torch.arange(20_000) % 2
    x = means[y] + torch.randn(20_000, 2, generator=source, dtype=torch.float64) @ root.T
    head = GaussianClassifier(x[:10_000], y[:10_000])
    true = torch.linalg.inv(root @ root.T) @ (means[1] - means[0])
    bayes = x[10_000:] @ true > 0.5 * (means[1] @ true)
    assert (head(x[10_000:]).argmax(1) == bayes).double().mean() > 0.97
    nearest = torch.cdist(x[10_000:], head.means).argmin(1)
    ours = head(x[10_000:]).argmax(1)
    assert (ours == y[10_000:]).sum() > (nearest == y[10_000:]).sum() + 1000


def test_invariances():
    """Shifts and rotations of all features, and a common factor, change no decision."""
    x, y = drawn()
    query = torch.randn(40, 5, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    one = GaussianClassifier(x, y)(query).softmax(1)
    other = GaussianClassifier(x @ turn + 7.0, y)(query @ turn + 7.0).softmax(1)
    torch.testing.assert_close(one, other)
    scaled = GaussianClassifier(100 * x, y)(100 * query).softmax(1)
    torch.testing.assert_close(one, scaled)


def test_singular_points():
    """One row per class, identical rows, and more columns than rows stay finite."""
    x = torch.eye(4, dtype=torch.float64)[:3]
    assert GaussianClassifier(x, torch.arange(3))(x).isfinite().all()  # no spread at all
    wide = torch.randn(6, 50)
    head = GaussianClassifier(wide, torch.arange(6) % 2)
    assert head(wide).isfinite().all() and head(wide).dtype == torch.float32
    assert (head(wide).argmax(1) == torch.arange(6) % 2).all()


def test_state_goes_with_the_module():
    x, y = drawn()
    head, other = GaussianClassifier(x, y), GaussianClassifier(x.flip(0), y)
    other.load_state_dict(head.state_dict())
    torch.testing.assert_close(other(x), head(x))
    assert not list(head.parameters())


def test_ensemble_and_its_weight():
    labels = torch.tensor([0, 1, 0, 1])
    good = torch.nn.functional.one_hot(labels).double()
    bad = 1.0 - good
    torch.testing.assert_close(ensembled(good, bad, 3.0), 100 * good + 3 * bad)
    assert choose_weight(good, bad, labels) == WEIGHTS[0]
    assert choose_weight(0.001 * bad, good, labels) == 1.0  # 100 · 0.001 = 0.1 is outweighed
    with pytest.raises((ShapeError, TypeCheckError)):
        ensembled(good, bad[:2], 1.0)
    with pytest.raises(ConventionError, match="weight"):
        choose_weight(good, bad, labels, [])


@pytest.mark.parametrize(
    ("labels", "settings"),
    [
        ([0, 0, 2, 2], {}), ([-1, 0, 1, 1], {}), ([0, 0, 1, 1], {"ridge": 1.5}),
        ([0, 0, 1, 1], {"ridge": math.nan}), ([0, 0, 1, 1], {"prior": torch.tensor([1.0, 0.0])}),
        ([0, 0, 1, 1], {"prior": torch.ones(3)}),
    ],
)  # fmt: skip
def test_refusals(labels, settings):
    with pytest.raises(EquivariantError):
        GaussianClassifier(torch.randn(4, 2), torch.tensor(labels), **settings)
    with pytest.raises((EquivariantError, TypeCheckError)):
        GaussianClassifier(torch.randn(1, 2), torch.tensor([0]))
