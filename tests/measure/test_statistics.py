"""Intervals that cover, corrections that correct."""

import math

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from scipy import stats

from equivariant.errors import ConventionError, ShapeError
from equivariant.measure import estimate_mean, holm
from equivariant.measure.error.statistics import p_value_above

REPETITIONS = 500


def errors(generator, *, items=40, samples=8, crossed=False):
    """Skewed errors of items and elements with a known mean."""
    of_item = torch.randn(items, 1, generator=generator, dtype=torch.float64)
    of_element = torch.randn(
        1 if crossed else items, samples, generator=generator, dtype=torch.float64
    )
    rest = torch.randn(items, samples, generator=generator, dtype=torch.float64)
    values = torch.exp(0.5 * of_item + 0.4 * of_element + 0.2 * rest)
    return values, math.exp((0.5**2 + 0.4**2 + 0.2**2) / 2)


def coverage(estimate, **options):
    generator = torch.Generator().manual_seed(1)
    hits = 0
    for _ in range(REPETITIONS):
        values, truth = errors(generator, **options)
        e = estimate(values)
        hits += e.low <= truth <= e.high
    return hits / REPETITIONS


def test_coverage_of_the_interval():
    """93 to 97 % for a nominal 95 %, over 500 repetitions, for both ways of drawing."""
    nested = coverage(lambda v: estimate_mean(v, resamples=600))
    crossed = coverage(lambda v: estimate_mean(v, crossed=True), crossed=True, samples=40)
    assert 0.93 <= nested <= 0.97
    assert 0.93 <= crossed <= 0.97


def test_an_interval_that_counts_entries_does_not_cover():
    """The broken twin: every entry taken for an item of its own."""
    naive = coverage(lambda v: estimate_mean(v.reshape(-1, 1), method="normal"))
    assert naive < 0.85
    # and one that takes shared elements for drawn anew
    blind = coverage(lambda v: estimate_mean(v, method="normal"), crossed=True, samples=10)
    assert blind < 0.85


def few(spread, items, estimate, repetitions=400):
    """Coverage for a few items whose errors are skewed."""
    generator, hits = torch.Generator().manual_seed(1), 0
    for _ in range(repetitions):
        of_item = torch.randn(items, 1, generator=generator, dtype=torch.float64)
        of_element = torch.randn(items, 8, generator=generator, dtype=torch.float64)
        e = estimate(torch.exp(spread * of_item + 0.4 * of_element))
        hits += e.low <= math.exp((spread**2 + 0.4**2) / 2) <= e.high
    return hits / repetitions


@pytest.mark.parametrize(
    ("spread", "items", "stated"), [(0.2, 2, 0.95), (0.5, 3, 0.94), (0.5, 5, 0.94), (1.0, 4, 0.90)]
)
def test_coverage_of_few_items_is_as_stated(spread, items, stated):
    """Within three standard errors of the table in the docstring; plain t stays below it."""
    found = few(spread, items, lambda v: estimate_mean(v, limits=(0.0, math.inf)))
    assert abs(found - stated) < 3 * math.sqrt(stated * (1 - stated) / 400)
    if spread == 1.0:
        assert few(spread, items, lambda v: estimate_mean(v, method="normal")) < 0.85


def test_intervals_of_few_items_by_hand_and_within_their_range():
    means = np.array([0.2, 0.5, 1.7])
    values = torch.from_numpy(means)[:, None]
    m, half = means.mean(), stats.t.ppf(0.975, 2) * stats.sem(means)
    e = estimate_mean(values, limits=(0.0, 100.0))
    assert (e.low, e.high) == (
        pytest.approx(m * math.exp(-half / m)), pytest.approx(m * math.exp(half / m))
    )  # fmt: skip
    cut = estimate_mean(values, limits=(0.0, 2.0))
    assert cut.high == 2.0 and cut.low == e.low
    difference = estimate_mean(values - 0.5)  # may be negative: Student's t
    assert (difference.low, difference.high) == (
        pytest.approx(m - 0.5 - half), pytest.approx(m - 0.5 + half)
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for items in (1, 2, 3, 4, 6, 9):
        for crossed in (False, True):
            v = torch.randn(items, 4, generator=generator, dtype=torch.float64).exp().clamp(max=2)
            e = estimate_mean(v, crossed=crossed, limits=(0.0, 2.0))
            assert 0.0 <= e.low <= e.value <= e.high <= 2.0, (items, crossed)


def test_weights_are_importance_weights():
    """Mean of x² over the uniform law on [0, 1] from draws of density 2x."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(300, 20, generator=generator, dtype=torch.float64).sqrt()
    e = estimate_mean(x.square(), weights=1 / x)
    assert e.low < 1 / 3 < e.high and e.effective_samples < 6000
    assert not estimate_mean(x.square()).low < 1 / 3
    same = estimate_mean(x, weights=torch.full_like(x, 3.0))
    assert same.value == pytest.approx(float(x.mean()))
    assert same.effective_samples == pytest.approx(6000.0)


def test_nested_error_is_that_of_item_means():
    values, _ = errors(torch.Generator().manual_seed(0))
    e = estimate_mean(values, method="normal")
    means = values.mean(1).numpy()
    assert e.standard_error == pytest.approx(stats.sem(means))
    low, high = stats.t.interval(0.95, len(means) - 1, means.mean(), stats.sem(means))
    assert (e.low, e.high) == (pytest.approx(low), pytest.approx(high))
    again = estimate_mean(values)
    assert again == estimate_mean(values)  # a seed of its own
    other = estimate_mean(values, generator=torch.Generator().manual_seed(5))
    assert other.low != again.low and other.low == pytest.approx(again.low, rel=0.02)


def test_percentile_interval_against_scipy():
    values, _ = errors(torch.Generator().manual_seed(3), items=60)
    means = values.mean(1).numpy()
    expected = stats.bootstrap(
        (means,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(0)
    ).confidence_interval
    e = estimate_mean(values, method="percentile", resamples=4000)
    assert e.low == pytest.approx(expected.low, rel=0.02)
    assert e.high == pytest.approx(expected.high, rel=0.02)


def test_crossed_standard_error_by_simulation():
    generator = torch.Generator().manual_seed(2)
    means, found = [], []
    for _ in range(400):
        values, _ = errors(generator, items=12, samples=9, crossed=True)
        means.append(float(values.mean()))
        found.append(estimate_mean(values, crossed=True).standard_error)
    assert math.sqrt(np.mean(np.square(found))) == pytest.approx(np.std(means), rel=0.12)


def test_constant_and_single_values():
    e = estimate_mean(torch.full((5, 3), 2.0))
    assert (e.value, e.low, e.high, e.standard_error) == (2.0, 2.0, 2.0, 0.0)
    assert p_value_above(e, 1.0) == 0.0 and p_value_above(e, 3.0) == 1.0
    lonely = estimate_mean(torch.ones(1, 1))
    assert lonely.conditional and math.isnan(lonely.low)
    with pytest.raises((ShapeError, TypeCheckError)):
        estimate_mean(torch.zeros(0, 3))
    with pytest.raises(ConventionError, match="level"):
        estimate_mean(torch.ones(2, 2), confidence=1.0)


def test_one_sided_p_values_against_scipy():
    values, _ = errors(torch.Generator().manual_seed(4))
    expected = stats.ttest_1samp(values.mean(1).numpy(), 1.0, alternative="greater").pvalue
    assert p_value_above(estimate_mean(values, method="normal"), 1.0) == pytest.approx(expected)


def test_holm_keeps_the_chance_of_any_false_rejection():
    rng = np.random.default_rng(0)
    corrected = np.array([holm(list(rng.uniform(size=10))) for _ in range(4000)])
    assert (corrected.min(1) < 0.05).mean() < 0.06
    raw = rng.uniform(size=(4000, 10))
    assert (raw.min(1) < 0.05).mean() > 0.3  # without a correction
    assert holm([]) == [] and holm([0.2]) == [0.2]
    p = list(rng.uniform(size=6) ** 3)
    assert all(c >= q for c, q in zip(holm(p), p, strict=True))
    by_hand = [min(1.0, max((6 - r) * sorted(p)[r] for r in range(k + 1))) for k in range(6)]
    assert sorted(holm(p)) == pytest.approx(by_hand)
