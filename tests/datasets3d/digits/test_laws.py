"""Laws of motions of the plane: their distributions, their matrices, and what stays inside."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import linalg, stats

from datasets3d import AffNistLaw, HomographyLaw, RotationLaw, TruncatedHaarLaw, WideAffineLaw
from datasets3d.digits import ink_corners
from datasets3d.digits.homography import DEVIATIONS
from datasets3d.pairs.streams import uniform_numbers
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import GL, SL, TruncatedHaarSampler

COUNT = 20_000
OBJECTS = np.arange(COUNT, dtype=np.int64)
LAWS = [
    AffNistLaw(translation="none"),
    WideAffineLaw(translation="none"),
    TruncatedHaarLaw("sl2", 0.4),
    TruncatedHaarLaw("gl2", 0.8, scale_radius=0.3),
    RotationLaw(),
    HomographyLaw(),
]
kinds = pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)


def uniform(values, low, high):
    """Whether numbers follow the uniform law on [low, high]."""
    return stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def linear(law, **options):
    return law.sample(3, OBJECTS, **options)[:, :2, :2]


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def test_numbers_are_uniform_and_independent():
    numbers = uniform_numbers(0, 0, OBJECTS, draw=0, count=4)
    assert numbers.min() > 0.0 and numbers.max() < 1.0
    shifted = [
        uniform_numbers(1, 0, OBJECTS, draw=0, count=4),
        uniform_numbers(0, 1, OBJECTS, draw=0, count=4),
        uniform_numbers(0, 0, OBJECTS, draw=1, count=4),
        uniform_numbers(0, 0, OBJECTS + 1, draw=0, count=4),
        np.roll(numbers, 1, axis=1),
    ]
    assert all(uniform(column, 0, 1) for column in numbers.T)
    for other in shifted:
        cells = np.histogram2d(numbers.ravel(), other.ravel(), bins=10)[0]
        assert stats.chisquare(cells.ravel()).pvalue > 1e-4
    fewer = uniform_numbers(0, 0, OBJECTS[:5], draw=0, count=2)
    np.testing.assert_array_equal(fewer, numbers[:5, :2])
    assert uniform_numbers(0, 0, OBJECTS[:3], draw=0, count=0).shape == (3, 0)


@kinds
def test_a_matrix_depends_on_its_object_alone(law):
    whole = law.sample(5, OBJECTS[:300], epoch=2, draw=1)
    assert whole.shape == (300, 3, 3) and whole.dtype == np.float64
    for rows in ([7], [299, 0, 7], list(range(299, -1, -1)), []):
        part = law.sample(5, np.array(rows, np.int64), epoch=2, draw=1)
        assert part.tobytes() == whole[rows].tobytes()
    for options in ({"epoch": 3, "draw": 1}, {"epoch": 2, "draw": 0}):
        assert (law.sample(5, OBJECTS[:300], **options) != whole).any((1, 2)).all()
    assert (law.sample(6, OBJECTS[:300], epoch=2, draw=1) != whole).any((1, 2)).all()


@kinds
def test_matrices_belong_to_the_group(law):
    g = law.sample(0, OBJECTS[:200])
    if isinstance(law, HomographyLaw):
        assert law.motions.contains(torch.from_numpy(g)).all() and law.motions == SL(3)
    else:
        assert law.motions.contains(torch.from_numpy(g)).all()
        assert (g[:, 2] == [0.0, 0.0, 1.0]).all() and (g[:, :2, 2] == 0.0).all()
        assert (np.linalg.det(g) > 0).all()
    if isinstance(law, RotationLaw) or (isinstance(law, TruncatedHaarLaw) and law.group == "sl2"):
        np.testing.assert_allclose(np.linalg.det(g), 1.0, atol=1e-12)


def test_affnist_factors_have_their_laws():
    """A = R(θ) [[1, k], [0, 1]] diag(s_x, s_y), taken apart by QR."""
    a = linear(AffNistLaw(translation="none"))
    theta = np.arctan2(a[:, 1, 0], a[:, 0, 0])
    sx = np.hypot(a[:, 0, 0], a[:, 1, 0])
    upper = np.stack([rotation(-t) for t in theta]) @ a
    np.testing.assert_allclose(upper[:, 1, 0], 0.0, atol=1e-12)
    sy, k = upper[:, 1, 1], upper[:, 0, 1] / upper[:, 1, 1]
    twenty = math.radians(20)
    assert uniform(theta, -twenty, twenty) and uniform(k, -0.2, 0.2)
    assert uniform(sx, 0.8, 1.2) and uniform(sy, 0.8, 1.2)
    columns = np.stack([theta, k, sx, sy])
    off = np.corrcoef(columns)[~np.eye(4, dtype=bool)]
    assert abs(off).max() < 4 / math.sqrt(COUNT)
    # the broken twin: the factors in the other order
    wrong = np.stack(
        [np.diag([x, y]) @ [[1, s], [0, 1]] for x, y, s in zip(sx, sy, k, strict=True)]
    )
    assert not uniform(wrong[:, 0, 1] / wrong[:, 1, 1], -0.2, 0.2)


def test_ranges_are_settings():
    law = AffNistLaw((0.3, 0.3), (0.1, 0.1), (2.0, 2.0), (0.5, 0.5), translation="none")
    expected = rotation(0.3) @ [[1, 0.1], [0, 1]] @ np.diag([2.0, 0.5])
    np.testing.assert_allclose(linear(law)[0], expected, atol=1e-15)
    same = AffNistLaw((0.0, 0.0), (0.0, 0.0), (1.0, 1.0), (1.0, 1.0), translation="none")
    assert same.sample(0, OBJECTS[:1])[0].tolist() == np.eye(3).tolist()


def singular(a):
    """Logarithms of size and of half the ratio of singular values, and the angle of U Vᵀ."""
    s = np.log(np.linalg.svd(a, compute_uv=False))
    angle = np.arctan2(a[:, 1, 0] - a[:, 0, 1], a[:, 0, 0] + a[:, 1, 1])
    return s.mean(1), 0.5 * (s[:, 0] - s[:, 1]), angle


def test_wide_factors_have_their_laws():
    size, ratio, angle = singular(linear(WideAffineLaw(translation="none")))
    assert uniform(size, math.log(0.5), math.log(2.0))
    assert uniform(2 * ratio, 0.0, math.log(2.0))
    assert uniform(angle, -math.pi, math.pi)


@pytest.mark.parametrize(("group", "radius", "scale"), [("sl2", 0.2, None), ("sl2", 0.8, None),
                                                        ("gl2", 0.4, None), ("gl2", 0.4, 0.9),
                                                        ("gl2", 3.0, 0.0)])  # fmt: skip
def test_truncated_haar_has_its_law(group, radius, scale):
    size, stretch, angle = singular(linear(TruncatedHaarLaw(group, radius, scale_radius=scale)))

    def cumulative(s):
        return (np.cosh(2 * s) - 1) / (np.cosh(2 * radius) - 1)

    assert stats.kstest(stretch, cumulative).pvalue > 1e-3
    assert stretch.max() <= radius * (1 + 1e-9)
    # the broken twin: without the factor sinh 2s
    assert not uniform(stretch, 0, radius)
    assert uniform(angle, -math.pi, math.pi)
    limit = {"sl2": 0.0, "gl2": radius if scale is None else scale}[group]
    if limit:
        assert uniform(size, -limit, limit)
    else:
        assert abs(size).max() < 1e-9


@pytest.mark.parametrize(("group", "peer", "scale"), [("sl2", SL(2), None), ("gl2", GL(2), 0.9)])
def test_truncated_haar_agrees_with_the_sampler_of_groups(group, peer, scale):
    generator = torch.Generator().manual_seed(0)
    law = TruncatedHaarSampler(peer, 0.5, scale_radius=scale)
    theirs = law.draw(COUNT, generator=generator).elements.numpy()
    ours = linear(TruncatedHaarLaw(group, 0.5, scale_radius=scale))
    other = linear(TruncatedHaarLaw(group, 0.3, scale_radius=scale))
    for entry in ((0, 0), (0, 1)):
        found = (slice(None), *entry)
        assert stats.ks_2samp(ours[found], theirs[found]).pvalue > 1e-3
    norms = [np.linalg.norm(a, axis=(1, 2)) for a in (ours, theirs, other)]
    assert stats.ks_2samp(norms[0], norms[1]).pvalue > 1e-3
    assert stats.ks_2samp(norms[2], norms[1]).pvalue < 1e-3


def test_truncated_haar_is_invariant_where_the_ball_allows():
    """E f(h) = E f(g h) = E f(h g) for f that vanishes where g moves the ball's end."""
    radius, g = 1.2, np.array([[1.2, 0.25], [-0.15, (1 - 0.25 * 0.15) / 1.2]])
    h = linear(TruncatedHaarLaw("sl2", radius))

    def bump(a):
        """Of stretch and of places, and zero beyond a stretch of 0.8."""
        s = 0.5 * np.arccosh(np.maximum(0.5 * (a**2).sum((1, 2)), 1.0))
        inside = np.clip(1 - (s / 0.8) ** 2, 0, None) ** 2
        return inside * (1 + a[:, 0, 1] + 0.5 * a[:, 0, 0] * a[:, 1, 1])

    assert np.log(np.linalg.norm(g, 2)) + 0.8 < radius
    for moved in (g @ h, h @ g):
        gap = bump(h) - bump(moved)
        assert abs(gap.mean()) < 4 * gap.std() / math.sqrt(COUNT)
    # the broken twin: stretches uniform, which no shift leaves as they are
    turns = uniform_numbers(9, 0, OBJECTS, draw=0, count=3)
    flat = np.stack([rotation(2 * np.pi * a) @ np.diag(np.exp([radius * s, -radius * s]))
                     @ rotation(2 * np.pi * b) for a, b, s in turns])  # fmt: skip
    gap = bump(flat) - bump(g @ flat)
    assert abs(gap.mean()) > 4 * gap.std() / math.sqrt(COUNT)


def test_rotations_are_uniform_and_counter_clockwise():
    a = linear(RotationLaw())
    assert uniform(np.arctan2(a[:, 1, 0], a[:, 0, 0]), -math.pi, math.pi)
    np.testing.assert_allclose(linear(RotationLaw((0.5, 0.5)))[0], rotation(0.5), atol=1e-15)


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_homographies_have_normal_coordinates(scale):
    h = HomographyLaw(scale).sample(0, OBJECTS[:800])
    x = np.stack([linalg.logm(one).real for one in h])
    # against X = Σ x_k B_k read off entry by entry: B₁, B₅ have traces removed
    diagonal = x[:, [0, 1], [0, 1]] - x[:, 2, 2, None]
    coordinates = [diagonal[:, 0], x[:, 0, 1], x[:, 0, 2], x[:, 1, 0], diagonal[:, 1],
                   x[:, 1, 2], x[:, 2, 0], x[:, 2, 1]]  # fmt: skip
    for values, deviation in zip(coordinates, DEVIATIONS, strict=True):
        assert stats.kstest(values, stats.norm(0, 0.5 * scale * deviation).cdf).pvalue > 1e-3
        assert stats.kstest(values, stats.norm(0, scale * deviation).cdf).pvalue < 1e-9


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 20.0])
def test_homographies_agree_with_a_slow_exponential(scale):
    law = HomographyLaw(scale)
    numbers = uniform_numbers(0, 0, OBJECTS[:40], draw=0, count=8)
    h = law.matrices(numbers)
    s = 0.5 * scale * np.array(DEVIATIONS)
    for row, found in zip(numbers, h, strict=True):
        x = stats.norm.ppf(row) * s
        algebra = np.array([[x[0], x[1], x[2]], [x[3], x[4], x[5]], [x[6], x[7], 0.0]])
        expected = linalg.expm(algebra - np.eye(3) * (x[0] + x[4]) / 3)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11 * abs(expected).max())
    if scale == 0.0:
        assert (h == np.eye(3)).all()


@pytest.mark.parametrize("law", [AffNistLaw(), WideAffineLaw(scale=(0.5, 1.0)),
                                 RotationLaw(translation="inside"),
                                 TruncatedHaarLaw("gl2", 0.2, translation="inside")])  # fmt: skip
def test_every_pixel_stays_inside(law, digits):
    corners = digits.corners(np.arange(20))
    size, pixel = 40, 2.0 / 40
    for draw in range(20):
        g = law.sample(0, OBJECTS[:20], draw=draw, corners=corners)
        for image, matrix in zip(digits.images, g, strict=True):
            rows, columns = np.nonzero(image)
            x, y = (columns - size / 2) * pixel, (size / 2 - rows) * pixel
            for dx in (0, pixel):
                for dy in (0, -pixel):
                    u, v, _ = matrix @ np.stack([x + dx, y + dy, np.ones_like(x)])
                    assert max(abs(u).max(), abs(v).max()) <= 1 + 1e-12


def test_shifts_are_uniform_over_what_is_admissible():
    """One pixel, whose admissible shifts are known in closed form."""
    picture = np.zeros((1, 40, 40), np.uint8)
    picture[0, 9, 30] = 1
    law = AffNistLaw((0.0, 0.0), (0.0, 0.0), (1.0, 1.0), (1.0, 1.0))
    corners = np.repeat(ink_corners(picture), COUNT, 0)
    t = law.sample(0, OBJECTS, corners=corners)[:, :2, 2] * 20
    assert uniform(t[:, 0], -30, 9) and uniform(t[:, 1], -30, 9)
    assert abs(np.corrcoef(t.T)[0, 1]) < 4 / math.sqrt(COUNT)
    assert not uniform(t[:, 0], -31.5, 10.5)


def test_what_does_not_fit_is_centred():
    picture = np.zeros((1, 40, 40), np.uint8)
    picture[0, 5:15, 2:32] = 1
    law = AffNistLaw((0.0, 0.0), (0.0, 0.0), (2.0, 2.0), (1.0, 1.0))
    corners = np.repeat(ink_corners(picture), COUNT, 0)
    t = law.sample(0, OBJECTS, corners=corners)[:, :2, 2] * 20
    # across: the box is [-36, 24] after stretching, and 60 pixels do not fit into 40
    np.testing.assert_allclose(t[:, 0], 6.0, atol=1e-12)
    assert uniform(t[:, 1], -25, 5)  # down: rows 5 to 15 fit


def test_corners_are_those_of_all_pixels(digits):
    everything = digits.images
    corners = ink_corners(everything)
    assert corners.shape == (20, 160, 2)
    directions = np.stack([rotation(a)[0] for a in np.linspace(0, 2 * np.pi, 37)])
    for image, found in zip(everything, corners, strict=True):
        rows, columns = np.nonzero(image)
        pixels = [((columns + i - 20) / 20, (20 - rows - j) / 20) for i in (0, 1) for j in (0, 1)]
        expected = np.concatenate(pixels, 1)
        reach = (directions @ found.T).max(1)  # the support functions of the hulls
        np.testing.assert_allclose(reach, (directions @ expected).max(1), atol=1e-12)


def test_corners_of_blank_and_full_and_oblong_pictures():
    assert (ink_corners(np.zeros((2, 5, 4), np.uint8)) == 0.0).all()
    full = ink_corners(np.ones((1, 4, 8), np.uint8))[0]
    assert full.min(0).tolist() == [-2.0, -1.0] and full.max(0).tolist() == [2.0, 1.0]
    assert ink_corners(np.zeros((0, 40, 40), np.uint8)).shape == (0, 160, 2)
    blank = AffNistLaw().sample(0, OBJECTS[:1], corners=ink_corners(np.zeros((1, 8, 8), np.uint8)))
    assert (abs(blank[0, :2, 2]) < 1.0).all()


@pytest.mark.parametrize(
    ("law", "options", "name"),
    [
        (AffNistLaw, {"rotation_rad": (1.0, -1.0)}, "rotation_rad"),
        (AffNistLaw, {"shear": (0.0, math.nan)}, "shear"),
        (AffNistLaw, {"scale_x": (0.0, 1.0)}, "scale_x"),
        (AffNistLaw, {"scale_y": (1.0, math.inf)}, "scale_y"),
        (WideAffineLaw, {"scale": (-1.0, 1.0)}, "scale"),
        (WideAffineLaw, {"anisotropy": (0.5, 1.0)}, "anisotropy"),
        (TruncatedHaarLaw, {"radius": 0.0}, "radius"),
        (TruncatedHaarLaw, {"radius": math.nan}, "radius"),
        (TruncatedHaarLaw, {"scale_radius": 0.3}, "scale_radius"),
        (TruncatedHaarLaw, {"group": "gl2", "scale_radius": -0.1}, "scale_radius"),
        (RotationLaw, {"angle_rad": (0.0, math.inf)}, "angle_rad"),
        (HomographyLaw, {"scale": -1.0}, "scale"),
        (HomographyLaw, {"deviations": (0.1,) * 7}, "deviations"),
    ],
)
def test_settings_out_of_range_are_refused(law, options, name):
    with pytest.raises(ConventionError, match=name):
        law(**options)


def test_missing_corners_and_other_counts_are_refused():
    with pytest.raises(ConventionError, match="corners"):
        AffNistLaw().sample(0, OBJECTS[:2])
    for shape in ((3, 5), (6,)):
        with pytest.raises(ShapeError, match="uniform"):
            replace(AffNistLaw(), translation="none").matrices(np.full(shape, 0.5))
