"""Probes in closed form, and data that is what it says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.mechanisms import mismatched, rocket, varieties
from benchmarks.mechanisms.canonical import TURN_RAD, tilted
from benchmarks.mechanisms.foreground import profile
from benchmarks.mechanisms.geodesic import shortest_paths
from benchmarks.mechanisms.label_distance import rank_correlation, separation
from benchmarks.mechanisms.look import objective as look
from benchmarks.mechanisms.shapes import SIDE, about_z, depth_maps, posed, resample, shapes
from benchmarks.mechanisms.symile import products
from benchmarks.mechanisms.training import (
    Run,
    batch,
    fresh,
    knn_accuracy,
    linear_accuracy,
    retrieval,
    ridge,
    ridge_r2,
    train,
)
from equivariant.losses import Learned, preset


def test_knn_votes() -> None:
    z = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    y = torch.tensor([0, 0, 1, 1])
    assert knn_accuracy(z, y, z, y, neighbors=2) == 1.0
    assert knn_accuracy(z, y, z, 1 - y, neighbors=2) == 0.0


def test_ridge_is_least_squares_at_no_penalty_and_the_mean_at_a_large_one() -> None:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(50, 3, generator=draws)
    y = x @ torch.randn(3, 2, generator=draws) + 1.0
    assert ridge_r2(x, y, x, y) > 0.999
    assert torch.allclose(ridge(x, y, x, penalty=0.0), y.double(), atol=1e-5)
    assert torch.allclose(ridge(x, y, x, penalty=1e9), y.double().mean(0), atol=1e-5)


def test_linear_probe_of_a_separable_set() -> None:
    x = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]])
    y = torch.tensor([0, 0, 1, 1])
    assert linear_accuracy(x, y, x, y) == 1.0


def test_objects_depend_on_the_seed_alone() -> None:
    train_0, held_out = shapes(0, 2)
    shapes.cache_clear()
    again, _ = shapes(0, 2)
    assert torch.equal(train_0.surface, again.surface)
    assert not torch.equal(train_0.surface, shapes(1, 2)[0].surface)
    assert len(train_0) == 64 and len(held_out) == 32 and train_0.classes == 2


def test_a_depth_map_keeps_the_nearest_point() -> None:
    cloud = torch.tensor([[[0.5, 0.01, 0.01], [-0.5, 0.01, 0.01], [0.2, -0.99, -0.99]]])
    seen = depth_maps(cloud)[0].reshape(SIDE, SIDE)
    assert seen[SIDE // 2, SIDE // 2] == pytest.approx(1.5)
    assert seen[0, 0] == pytest.approx(1.2)
    assert int((seen > 0).sum()) == 2


def test_views_are_turned_points_of_the_surface() -> None:
    draws = torch.Generator().manual_seed(0)
    surface = torch.randn(4, 256, 3, generator=draws)
    drawn = resample(surface, draws)
    assert drawn.shape == (4, 64, 3)
    assert bool((drawn[:, :, None] == surface[:, None]).all(3).any(2).all())
    rotation = about_z(4, draws)
    cloud = posed(surface, rotation, draws)
    back = cloud @ rotation
    assert float(torch.cdist(back, surface).amin(2).max()) < 0.15


def test_weights_and_batches_depend_on_the_seed_alone() -> None:
    run = Run(3, 1e-3, 2)
    first, second = (fresh(run, lambda: nn.Linear(4, 4))[0] for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    rows = batch(10, 10, run.generator())
    assert sorted(rows.tolist()) == list(range(10))


def test_training_takes_the_steps_it_is_given() -> None:
    run, calls = Run(0, 1e-1, 5), []
    (layer,) = fresh(run, lambda: nn.Linear(2, 1))

    def loss() -> torch.Tensor:
        calls.append(1)
        return layer(torch.ones(1, 2)).square().sum()

    train([layer], loss, run)
    assert len(calls) == 5 and not layer.training


def test_look_is_zero_where_all_neighbours_agree() -> None:
    z = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert float(look(z, torch.zeros(20, dtype=torch.long))) == pytest.approx(0.0, abs=1e-6)
    assert float(look(z, torch.arange(20) % 2)) > 0.1


def test_rank_correlation_and_separation() -> None:
    x = torch.tensor([1.0, 2.0, 5.0, 9.0])
    assert rank_correlation(x, x.exp()) == pytest.approx(1.0)
    assert rank_correlation(x, -x) == pytest.approx(-1.0)
    apart = separation(torch.tensor([0.1]), torch.tensor([6.2, 3.1]))
    assert torch.allclose(apart, torch.tensor([[0.1832, 3.0]]), atol=1e-4)


def test_retrieval_counts_rows_that_find_themselves() -> None:
    z = torch.eye(4)
    assert retrieval(z, 3.0 * z) == 1.0
    assert retrieval(z, z.roll(1, 0)) == 0.0
    assert retrieval(z, z[[0, 1, 3, 2]]) == 0.5


def test_shortest_paths_lead_along_a_line_and_not_across_a_gap() -> None:
    places = torch.tensor([0.0, 1.0, 2.0, 3.0, 100.0, 101.0, 102.0])[:, None]
    paths = shortest_paths(torch.cdist(places, places), 2)
    assert paths[0, 3] == pytest.approx(3.0)
    assert torch.equal(paths, paths.T) and bool((paths.diagonal() == 0).all())
    assert bool(paths[:4, 4:].isinf().all())
    assert float(shortest_paths(torch.tensor([[0.0, 1, 9], [1, 0, 1], [9, 1, 0]]), 1)[0, 2]) == 2.0


def test_a_profile_survives_turns_about_the_vertical_alone() -> None:
    draws = torch.Generator().manual_seed(0)
    cloud = torch.randn(3, 20, 3, generator=draws)
    turned = cloud @ about_z(3, draws).transpose(1, 2)
    assert torch.allclose(profile(turned), profile(cloud), atol=1e-5)
    assert not torch.allclose(profile(cloud.roll(1, 2)), profile(cloud), atol=1e-1)


def test_tilts_stay_within_their_angle() -> None:
    rotation = tilted(200, torch.Generator().manual_seed(0))
    trace = rotation.diagonal(dim1=1, dim2=2).sum(1)
    angle = ((trace - 1.0) / 2.0).clamp(-1.0, 1.0).acos()
    assert float(angle.max()) <= TURN_RAD + 1e-3 and float(angle.max()) > 0.9 * TURN_RAD


def test_products_at_once_are_the_preset() -> None:
    draws = torch.Generator().manual_seed(0)
    zs = [nn.functional.normalize(torch.randn(5, 4, generator=draws), dim=1) for _ in range(3)]
    values = [products(*zs[i:], *zs[:i], Learned(0.1)) for i in range(3)]
    expected = preset("symile_all", tau=0.1).build()(a=zs[0], b=zs[1], c=zs[2]).total
    assert torch.allclose(torch.stack(values).mean(), expected, atol=1e-5)


def test_varieties_differ_in_taper_and_bulge() -> None:
    ring = torch.tensor([[[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, -1.0]]]).expand(4, -1, -1)
    made = varieties.deformed(ring, torch.arange(4))
    d = varieties.DEFORMATION
    wide = [
        [(1 + t * d * z) * (1 + b * d * (1 - 2 * z * z)) for z in (1.0, 0.0, -1.0)]
        for b in (-1, 1)
        for t in (-1, 1)
    ]
    assert torch.allclose(made[..., 0], torch.tensor(wide))
    assert torch.equal(made[..., 2], ring[..., 2])


def test_names_of_varieties_are_of_shapes_or_drawn() -> None:
    planted, control = (varieties.families(0, c)[0] for c in ("planted", "control"))
    assert torch.equal(planted.surface, control.surface)
    assert not torch.equal(planted.label, control.label)
    for side in (planted, control):  # kinds are kept, varieties are as many
        assert torch.equal(side.label.bincount(), torch.full((32,), 8))
        assert torch.equal(side.label // varieties.VARIETIES, planted.label // varieties.VARIETIES)
    # taper and bulge of the first kind's rows, told by label, are those of the surfaces
    plain = shapes(0, varieties.KINDS)[0].surface[:8]
    again = varieties.deformed(plain, planted.label[:8] % varieties.VARIETIES)
    assert torch.equal(again, planted.surface[:8])


def test_scores_of_varieties_by_hand() -> None:
    found, label = torch.tensor([0, 1, 4, 9]), torch.tensor([0, 0, 0, 8])
    numbers = varieties.scores(found, label)
    assert numbers == {"accuracy": 0.25, "kind_accuracy": 0.75, "confused_within_kind": 0.5}


def test_the_contrast_of_two_modalities_is_clip_without_smoothing() -> None:
    draws = torch.Generator().manual_seed(0)
    a, b = (torch.randn(6, 4, generator=draws) for _ in range(2))
    ours = rocket.contrast_of_two(a, b, 0.0)
    assert torch.allclose(ours, preset("clip", tau=rocket.TAU).build()(a=a, b=b).total)
    # smoothed: 0.9 of the plain loss and 0.1 of the mean over all targets
    logits = nn.functional.normalize(a, dim=1) @ nn.functional.normalize(b, dim=1).T / rocket.TAU
    even = -0.5 * (logits.log_softmax(1).mean() + logits.log_softmax(0).mean())
    smoothed = rocket.contrast_of_two(a, b, 0.1)
    assert torch.allclose(smoothed, 0.9 * ours + 0.1 * even)
    assert not torch.allclose(smoothed, ours)


def test_what_is_beside_the_contrast_reads_what_it_says() -> None:
    draws = torch.Generator().manual_seed(0)
    pair, views = (
        (torch.randn(8, rocket.DIM, generator=draws), torch.randn(8, rocket.DIM, generator=draws))
        for _ in range(2)
    )
    barlip, siamlip, swalip = (rocket.Beside(name) for name in rocket.TITLES)
    barlow = preset("barlow").build()(a=pair[0], b=pair[1]).total
    assert torch.allclose(barlip(pair, views), 0.025 * barlow)
    for module in (siamlip, swalip):
        assert torch.equal(module(pair, views), module((pair[1], pair[0]), views))
        assert not torch.equal(module(pair, views), module(views, pair))


def test_depth_maps_change_places_among_the_mismatched() -> None:
    depth = torch.arange(40.0)[:, None].expand(-1, 3)
    moved, wrong = mismatched.mismatched(depth, "planted", torch.Generator().manual_seed(0))
    assert int(wrong.sum()) == 12
    assert torch.equal((moved != depth).all(1), wrong)
    assert torch.equal(moved[wrong].sort(0).values, depth[wrong])  # they change among themselves
    still, none = mismatched.mismatched(depth, "control", torch.Generator().manual_seed(0))
    assert torch.equal(still, depth) and not none.any()
