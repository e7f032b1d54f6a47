"""Moved pictures: that g moves what is seen as it says; streams and fixed sets depend on nothing
that they should not."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from datasets3d import (
    AffNistLaw,
    DigitPairs,
    Digits,
    HomographyLaw,
    RotationLaw,
    TruncatedHaarLaw,
    WideAffineLaw,
    transformed_digits,
)
from datasets3d.digits import move_pictures, transformed
from datasets3d.digits.warping import inverse
from equivariant.actions import ImageWarp
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Affine
from equivariant.training.loop import PairStream

SIZE = 40
LAWS = [AffNistLaw(), WideAffineLaw(), TruncatedHaarLaw("gl2", 0.3), RotationLaw(), HomographyLaw()]
every_law = pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
bilinear = ImageWarp(Affine(2), SIZE, interpolation="bilinear")


def same(one, other):
    a, b = one.tensors(), other.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def take(pairs, count, batch_size=4, **options):
    return list(islice(pairs.stream(batch_size, **options), count))


def places(size=SIZE):
    """Coordinates x and y of the pixels' centres, by the definition of ImageWarp."""
    index = (torch.arange(size, dtype=torch.float64) + 0.5) * 2 / size - 1
    return index.expand(size, size), -index.unsqueeze(1).expand(size, size)


def blob(centre, width=0.15, size=SIZE):
    """A smooth picture around a place, and its middle, as measured."""
    x, y = places(size)
    return torch.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))


def middle(picture):
    x, y = places(picture.shape[-1])
    return torch.stack([(picture * x).sum(), (picture * y).sum()]) / picture.sum()


def smooth(digits):
    """Digits without edges: what interpolation does to them is small."""
    blurred = bilinear.reference(digits.pictures(), sigma_px=2.0).squeeze(1)
    images = (255 * blurred / blurred.amax((1, 2), keepdim=True)).round().to(torch.uint8)
    return Digits.of(images.numpy(), digits.labels)


# ---------------------------------------------------------------- pictures that move


def test_pixels_go_where_the_matrix_says():
    """A bright pixel, moved by whole pixels and by quarter turns, arrives exactly."""
    picture = torch.zeros(1, 1, SIZE, SIZE)
    picture[0, 0, 10, 25] = 1.0  # x = 5.5 / 20, y = 9.5 / 20
    shift = torch.eye(3, dtype=torch.float64)[None].clone()
    shift[0, :2, 2] = torch.tensor([3.0, 2.0], dtype=torch.float64) / 20
    assert move_pictures(picture, shift)[0, 0].nonzero().tolist() == [[8, 28]]
    turn = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]], dtype=torch.float64)
    # counter-clockwise as seen: (5.5, 9.5) goes to (-9.5, 5.5)
    assert move_pictures(picture, turn)[0, 0].nonzero().tolist() == [[14, 10]]
    both = move_pictures(picture, shift @ turn)
    assert both[0, 0].nonzero().tolist() == [[12, 13]]


@every_law
def test_known_dots_move_where_g_says(law):
    draw = np.random.default_rng(1)
    worst, met = 0.0, 0
    for k in range(30):
        centre = draw.uniform(-0.35, 0.35, 2)
        picture = blob(centre, 0.08)
        corners = np.array([[[-0.4, -0.4], [0.4, 0.4], [-0.4, 0.4], [0.4, -0.4]]])
        g = law.sample(0, np.array([k]), corners=corners)
        moved = move_pictures(picture[None, None], torch.from_numpy(g))[0, 0]
        image = g[0] @ [*centre, 1.0]
        expected = image[:2] / image[2]
        if abs(expected).max() + 0.32 * np.linalg.norm(g[0, :2, :2], 2) < 1.0:
            met += 1
            worst = max(worst, float((middle(moved) - torch.from_numpy(expected)).abs().max()))
            mirrored = image[:2] / image[2] * [1, -1]
            if abs(expected[1]) > 0.1:  # the broken twin, y down, is told apart
                assert float((middle(moved) - torch.from_numpy(mirrored)).abs().max()) > 0.1
    assert met >= 10
    # a homography moves the middle of a blob by its second derivative, besides
    assert worst < (2e-2 if isinstance(law, HomographyLaw) else 4e-3)


@pytest.mark.parametrize("size", [(40, 40), (31, 31), (24, 40), (33, 17)])
def test_affine_motions_are_those_of_image_warp(size):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(16, 2, *size, generator=generator, dtype=torch.float64)
    g = Affine(2).sample(16, generator=generator, scale=0.4)
    warp = ImageWarp(Affine(2), size, channels=2, interpolation="bilinear")
    torch.testing.assert_close(move_pictures(pictures, g), warp(g, pictures), atol=1e-12, rtol=0)
    single = move_pictures(pictures.float(), g)
    torch.testing.assert_close(single, warp(g, pictures).float(), atol=2e-4, rtol=0)
    # the broken twin, the inverse, is told apart
    assert (move_pictures(pictures, inverse(g)) - warp(g, pictures)).abs().max() > 0.1


def test_homographies_agree_with_a_loop():
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(3, 1, 9, 7, generator=generator, dtype=torch.float64)
    g = torch.from_numpy(HomographyLaw(4.0).sample(1, np.arange(3)))
    g[2] = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 2.0, 1]])  # its horizon is in the picture
    moved = move_pictures(pictures, g)
    beyond = 0
    for k in range(3):
        for i in range(9):
            for j in range(7):
                place = [(j + 0.5 - 3.5) / 3.5, (4.5 - i - 0.5) / 3.5, 1.0]
                u = torch.tensor(place, dtype=torch.float64)
                x, y, w = torch.linalg.solve(g[k], u).tolist()
                expected, beyond = 0.0, beyond + (w <= 0)
                if w > 0:
                    column, row = x / w * 3.5 + 3.0, 4.0 - y / w * 3.5
                    for r in (math.floor(row), math.floor(row) + 1):
                        for c in (math.floor(column), math.floor(column) + 1):
                            if 0 <= r < 9 and 0 <= c < 7:
                                weight = (1 - abs(row - r)) * (1 - abs(column - c))
                                expected += weight * float(pictures[k, 0, r, c])
                assert abs(float(moved[k, 0, i, j]) - expected) < 1e-9
    assert beyond > 0 and bool(torch.isfinite(moved).all())


@pytest.mark.parametrize("size", [(2, 40), (40, 2), (1, 1)])
def test_behind_the_horizon_is_nothing_in_any_frame(size):
    pictures = torch.ones(2, 1, *size, dtype=torch.float64)
    behind = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)).expand(2, 3, 3)
    assert (move_pictures(pictures, behind) == 0).all()
    edge = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.float64)
    assert torch.isfinite(move_pictures(pictures, behind + edge)).all()


def test_affine_pictures_do_not_depend_on_homographies_beside_them(digits):
    pictures = digits.pictures()
    g = torch.from_numpy(RotationLaw().sample(0, np.arange(20)))
    alone = move_pictures(pictures, g)
    g[::2] = torch.from_numpy(HomographyLaw().sample(0, np.arange(10)))
    assert torch.equal(move_pictures(pictures, g)[1::2], alone[1::2])


@pytest.mark.parametrize(
    "law", [RotationLaw(), HomographyLaw()], ids=lambda law: type(law).__name__
)
def test_gradients(law):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(2, 1, 4, 4, generator=generator, dtype=torch.float64).requires_grad_()
    g = torch.from_numpy(law.sample(0, np.arange(2))).requires_grad_()
    assert torch.autograd.gradcheck(move_pictures, (pictures, g))


def test_no_picture_and_other_counts():
    assert move_pictures(torch.zeros(0, 1, 8, 8), torch.zeros(0, 3, 3)).shape == (0, 1, 8, 8)
    for shape in ((2, 3, 3), (1, 2, 2)):
        with pytest.raises((ShapeError, TypeCheckError)):
            move_pictures(torch.zeros(1, 1, 8, 8), torch.zeros(shape))


def test_inverses():
    g = Affine(2).sample(50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(inverse(g) @ g, torch.eye(3).double().expand(50, 3, 3))
    assert (inverse(g)[:, 2] == torch.tensor([0.0, 0.0, 1.0])).all()
    h = torch.from_numpy(HomographyLaw(3.0).sample(0, np.arange(50)))
    torch.testing.assert_close(inverse(h), torch.linalg.inv(h))


# ---------------------------------------------------------------- pairs


@every_law
def test_from_the_centred_digit_the_warp_is_b(digits, law):
    pairs = DigitPairs(digits, law=law, first="centred")
    (batch,) = take(pairs, 1, 20)
    torch.testing.assert_close(batch.a, digits.pictures(batch.object_id.numpy()))
    assert torch.equal(batch.label, digits.targets[batch.object_id])
    assert batch.a.dtype == batch.b.dtype == batch.g.dtype == torch.float32
    assert float(batch.b.min()) >= 0.0 and float(batch.b.max()) <= 1.0
    if isinstance(law, HomographyLaw):
        expected = move_pictures(batch.a, batch.g.double())
    else:
        expected = bilinear(batch.g, batch.a)
    torch.testing.assert_close(expected, batch.b, atol=2e-4, rtol=0)


@pytest.mark.parametrize("law", LAWS[:4], ids=lambda law: type(law).__name__)
def test_g_takes_a_to_b_up_to_interpolation(digits, law):
    """On smooth pictures ImageWarp of a by g is b, and by g⁻¹ or by no motion it is not."""
    pairs = DigitPairs(smooth(digits), law=law, seed=1)
    (batch,) = take(pairs, 1, 20)
    warp = ImageWarp(Affine(2), SIZE)
    # where a's frame cut nothing off that b shows
    seen = warp(batch.g, torch.ones_like(batch.a)) > 0.999
    norm = (batch.b * seen).flatten(1).norm(dim=1)

    def error(g):
        return ((warp(g, batch.a) - batch.b) * seen).flatten(1).norm(dim=1) / norm

    floor = error(batch.g)
    assert float(floor.median()) < 0.03 and float(floor.max()) < 0.1
    assert float(error(inverse(batch.g)).median()) > 5 * float(floor.median())
    identity = torch.eye(3).expand(20, 3, 3)
    assert float(error(identity).median()) > 5 * float(floor.median())


@every_law
def test_g_is_that_of_both_motions(digits, law):
    pairs = DigitPairs(digits, law=law, pairs_per_object=2)
    rows = pairs.rows(3)
    batch, (g_a, g_b) = pairs.batch(rows), pairs.elements(rows)
    assert g_a.dtype == torch.float64 and g_a.shape == (40, 3, 3)
    torch.testing.assert_close(batch.g.double() @ g_a, g_b, atol=1e-5, rtol=0)
    assert (g_a != g_b).any(1).any(1).all()
    centred = digits.pictures(batch.object_id.numpy())
    assert torch.equal(batch.a, move_pictures(centred, g_a))
    assert torch.equal(batch.b, move_pictures(centred, g_b))


@pytest.mark.parametrize("first", ["transformed", "centred"])
def test_a_pair_depends_on_its_row_alone(digits, first):
    pairs = DigitPairs(digits, seed=2, pairs_per_object=3, first=first)
    rows = np.concatenate([pairs.rows(0), pairs.rows(1)])
    whole = pairs.batch(rows)
    for chosen in ([5], [119, 0, 64], list(range(119, -1, -1)), []):
        other = DigitPairs(digits, seed=2, pairs_per_object=3, first=first)
        assert same(other.batch(rows[chosen]), whole[torch.tensor(chosen, dtype=torch.long)])


def test_streams(digits):
    pairs = DigitPairs(digits, seed=5, pairs_per_object=2)
    steps = take(pairs, 9, 7)
    assert pairs.pairs_per_epoch == 40
    for start in (1, 5, 6):
        tail = take(DigitPairs(digits, seed=5, pairs_per_object=2), 9 - start, 7, start=start)
        assert all(same(a, b) for a, b in zip(steps[start:], tail, strict=True))
    epoch = torch.cat([b.object_id for b in take(pairs, 10, 4)])
    assert (epoch.bincount() == 2).all()
    halves = [take(pairs, 3, 8, rank=rank, world=2) for rank in range(2)]
    for step, batch in enumerate(take(pairs, 3, 8)):
        for name, value in batch.tensors().items():
            parts = torch.cat([half[step].tensors()[name] for half in halves])
            assert torch.equal(parts, value)
    assert not same(take(DigitPairs(digits, seed=6, pairs_per_object=2), 1, 7)[0], steps[0])
    assert isinstance(pairs, PairStream)


def test_workers_change_nothing(digits):
    pairs = DigitPairs(digits, law=WideAffineLaw())
    alone, helped = take(pairs, 4), take(pairs, 4, workers=2)
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))


def test_refusals_of_pairs(digits):
    for options in ({"seed": -1}, {"pairs_per_object": 0}):
        with pytest.raises(ConventionError, match=next(iter(options))):
            DigitPairs(digits, **options)
    with pytest.raises((ConventionError, TypeCheckError)):
        DigitPairs(digits, first="centered")
    with pytest.raises(ConventionError, match="batch_size"):
        DigitPairs(digits).stream(21)


# ---------------------------------------------------------------- fixed sets


@every_law
def test_fixed_sets_are_the_same_bytes(digits, law):
    images, labels, matrices = transformed_digits(digits, law, per_digit=3, seed=4)
    assert images.dtype == np.uint8 and images.shape == (60, SIZE, SIZE)
    assert labels.tolist() == np.repeat(digits.labels, 3).tolist()
    again = transformed_digits(digits, law, per_digit=3, seed=4)
    assert images.tobytes() == again.images.tobytes()
    assert matrices.tobytes() == again.matrices.tobytes()
    more = transformed_digits(digits, law, per_digit=5, seed=4)
    for k in range(20):
        assert (more.images[5 * k : 5 * k + 3] == images[3 * k : 3 * k + 3]).all()
    assert (transformed_digits(digits, law, per_digit=3, seed=5).matrices != matrices).any()
    # and they are what the matrices make of the digits
    centred = torch.from_numpy(np.repeat(digits.images, 3, 0))[:, None].float()
    moved = move_pictures(centred, torch.from_numpy(matrices))[:, 0].round().numpy()
    assert (moved == images).all()


def test_fixed_sets_in_pieces(digits, monkeypatch):
    whole = transformed_digits(digits, AffNistLaw(), per_digit=3)
    monkeypatch.setattr("datasets3d.digits.transformed._CHUNK", 7)
    pieces = transformed_digits(digits, AffNistLaw(), per_digit=3)
    assert all((a == b).all() for a, b in zip(whole, pieces, strict=True))


def test_ink_is_kept_when_it_stays_inside(digits):
    law = AffNistLaw((0.0, 0.0), (0.0, 0.0), (1.0, 1.0), (1.0, 1.0))
    moved = transformed_digits(digits, law, per_digit=4)
    ink = moved.images.sum((1, 2), dtype=float)
    np.testing.assert_allclose(ink, np.repeat(digits.images.sum((1, 2)), 4), rtol=2e-2)


def test_a_cache_gives_what_was_made(digits, tmp_path, monkeypatch):
    law, folder = RotationLaw(), tmp_path / "sets"
    first = transformed_digits(digits, law, per_digit=2, cache=folder)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    made = []
    real = transformed._made
    monkeypatch.setattr(
        "datasets3d.digits.transformed._made", lambda *a: (made.append(a), real(*a))[1]
    )
    second = transformed_digits(digits, law, per_digit=2, cache=folder)
    assert not made and all((a == b).all() for a, b in zip(first, second, strict=True))
    assert [v.dtype for v in first] == [v.dtype for v in second]
    for settings in ({"per_digit": 1}, {"seed": 1}):
        transformed_digits(digits, law, cache=folder, **{"per_digit": 2, **settings})
    transformed_digits(digits, RotationLaw((0.0, 1.0)), per_digit=2, cache=folder)
    transformed_digits(Digits.of(digits.images[:3], digits.labels[:3]), law, per_digit=2,
                       cache=folder)  # fmt: skip
    assert len(made) == 4 and len(list(folder.iterdir())) == 5
    path.write_bytes(content[:100])
    transformed_digits(digits, law, per_digit=2, cache=folder)
    assert len(made) == 5 and path.read_bytes() == content


def test_no_digit_and_refusals_of_fixed_sets(digits):
    none = Digits.of(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64))
    images, labels, matrices = transformed_digits(none, AffNistLaw())
    assert images.shape == (0, 40, 40) and labels.shape == (0,) and matrices.shape == (0, 3, 3)
    for options in ({"per_digit": 0}, {"seed": -1}):
        with pytest.raises(ConventionError, match=next(iter(options))):
            transformed_digits(digits, RotationLaw(), **options)


def test_mnist_itself(real_data):
    digits = Digits(real_data / "mnist", split="test", count=500)
    images, labels, matrices = transformed_digits(digits, AffNistLaw(), per_digit=2)
    assert labels.shape == (1000,) and len(np.unique(matrices, axis=0)) == 1000
    expected = np.linalg.det(matrices) * np.repeat(digits.images.sum((1, 2), dtype=float), 2)
    np.testing.assert_allclose(images.sum((1, 2)), expected, rtol=0.05)
