"""A convolution over a group: its equivariance error falls as N^(-1/2), or stays where it is."""

import math

import pytest
import torch

from benchmarks.lie.sampling import CASES, both_sides, feature, seeded
from equivariant.groups import TruncatedHaarSampler


def relative_error(name, method, size, repetitions):
    case = CASES[name]
    left, right, variance = both_sides(
        case, case.sampler(method), size, repetitions, "test", method
    )
    scale = float((0.5 * (left + right)).mean(-1).square().mean())
    predicted = math.sqrt(float(variance[0].mean()) / scale)
    return math.sqrt(float((left - right).square().mean()) / scale), predicted


@pytest.mark.parametrize("name", ["GL(2)", "SL(2)"])
@pytest.mark.parametrize("method", ["independent", "log-normal weighted"])
def test_errors_fall_with_the_root_of_the_number_and_are_predicted(name, method):
    sizes = (500, 8000)
    (few, few_predicted), (many, many_predicted) = (
        relative_error(name, method, size, 60) for size in sizes
    )
    slope = math.log(many / few) / math.log(sizes[1] / sizes[0])
    assert -0.6 < slope < -0.4
    assert 0.7 < few / few_predicted < 1.4
    assert 0.7 < many / many_predicted < 1.4


@pytest.mark.parametrize("name", ["GL(2)", "SL(2)"])
def test_the_unweighted_law_converges_to_something_else(name):
    error, predicted = relative_error(name, "log-normal unweighted", 30_000, 10)
    assert error > 0.1
    assert predicted < 0.02


def test_quasi_random_numbers_fall_faster():
    independent, _ = relative_error("SL(2)", "independent", 1000, 40)
    quasi, _ = relative_error("SL(2)", "quasi", 1000, 40)
    assert quasi < 0.3 * independent


@pytest.mark.parametrize("name", CASES)
def test_the_features_vanish_outside_of_the_region(name):
    """What makes the truncated law leave nothing out; and they do not vanish inside."""
    case = CASES[name]
    radius, scale = case.needed
    wide = TruncatedHaarSampler(case.group, 1.5 * radius, scale_radius=1.5 * scale)
    h = wide.draw(20_000, generator=seeded("wide")).elements
    x = torch.linalg.svdvals(h).log()
    mean = x.mean(-1, keepdim=True)
    outside = ((x - mean).abs().amax(-1) > radius) | (mean[:, 0].abs() > scale)
    assert 0.1 < float(outside.double().mean()) < 1
    for f in (feature(h, case), feature(torch.linalg.inv(case.a) @ h, case)):
        assert float(f[outside].abs().max()) == 0.0
        assert float(f[~outside].max()) > 0.1
