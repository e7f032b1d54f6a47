"""Targets, centroids and words: loops, limits, invariances, several processes."""

import math
import os

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import (
    BagOfWords,
    Centre,
    back_translated_centroids,
    bag_of_words,
    centred_softmax,
    centroids,
    density_temperatures,
    hard_targets,
    sinkhorn,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosines(n=8, k=5, seed=0):
    return torch.tanh(draw(n, k, seed=seed))


def sinkhorn_by_loops(scores, eps, iterations):
    n, k = scores.shape
    q = [[math.exp(float(scores[i, j]) / eps) for j in range(k)] for i in range(n)]
    for _ in range(iterations):
        for j in range(k):
            total = sum(q[i][j] for i in range(n))
            for i in range(n):
                q[i][j] /= total
        for i in range(n):
            total = sum(q[i])
            q[i] = [x / total for x in q[i]]
    return torch.tensor(q, dtype=torch.float64)


@pytest.mark.parametrize("iterations", [1, 3, 7])
def test_sinkhorn_by_loops(iterations):
    scores = cosines()
    expected = sinkhorn_by_loops(scores, 0.05, iterations)
    torch.testing.assert_close(sinkhorn(scores, iterations=iterations), expected)


def test_sinkhorn_in_closed_form_and_at_convergence():
    uniform = torch.full((6, 4), 0.25).double()
    torch.testing.assert_close(sinkhorn(torch.full((6, 4), 0.3).double()), uniform)
    codes = sinkhorn(cosines(), eps=0.5, iterations=500)
    torch.testing.assert_close(codes.sum(1), torch.ones(8).double())
    torch.testing.assert_close(codes.sum(0), torch.full((5,), 8 / 5).double())
    few = sinkhorn(cosines())
    torch.testing.assert_close(few.sum(1), torch.ones(8).double())
    hard = sinkhorn(torch.eye(4).double(), eps=1e-3)
    torch.testing.assert_close(hard, torch.eye(4).double())


def test_sinkhorn_is_equivariant_to_permutations():
    scores, rows, columns = cosines(), torch.randperm(8), torch.randperm(5)
    moved = sinkhorn(scores[rows][:, columns])
    torch.testing.assert_close(moved, sinkhorn(scores)[rows][:, columns])


def test_one_shift_of_all_scores_changes_nothing_and_a_shift_per_sample_does():
    scores = cosines(64, 16) * torch.linspace(0.1, 3, 64)[:, None]
    codes = sinkhorn(scores)
    torch.testing.assert_close(sinkhorn(scores - scores.max()), codes)
    torch.testing.assert_close(sinkhorn(scores + 1000), codes, rtol=1e-6, atol=1e-9)
    per_sample = sinkhorn(scores - scores.amax(1, keepdim=True))
    assert float((per_sample - codes).abs().max()) > 0.1


def test_sinkhorn_of_large_scores_in_half_precision_is_finite_and_without_gradient():
    scores = (100 * cosines()).half().requires_grad_()
    codes = sinkhorn(scores, eps=0.01)
    assert codes.dtype == torch.float32
    assert not codes.requires_grad
    torch.testing.assert_close(codes.sum(1), torch.ones(8))


def test_refusals_of_sinkhorn():
    with pytest.raises(ConventionError, match="eps"):
        sinkhorn(cosines(), eps=0.0)
    with pytest.raises(ConventionError, match="iterations"):
        sinkhorn(cosines(), iterations=0)
    for shape in ((0, 4), (4, 0)):
        with pytest.raises(ShapeError, match="one row"):
            sinkhorn(torch.zeros(shape))


def _worker(rank, port, results):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.set_num_threads(1)
    rows = slice(0, 3) if rank == 0 else slice(3, 8)
    centre, words = Centre(5).double(), BagOfWords().double()
    centre(cosines()[rows])
    words(draw(8, 6, 2)[rows], draw(4, 2, seed=1))
    results[rank] = sinkhorn(cosines()[rows]).numpy(), centre.mean.numpy(), float(words.scale)
    dist.destroy_process_group()


def test_two_processes_with_unequal_shares_agree_with_one(free_port):
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(_worker, args=(free_port, results), nprocs=2)
        (first, centre, scale), (second, other, same) = results[0], results[1]
    torch.testing.assert_close(
        torch.from_numpy(np.concatenate([first, second])), sinkhorn(cosines())
    )
    alone = Centre(5).double()
    alone(cosines())
    torch.testing.assert_close(torch.from_numpy(centre), alone.mean)
    torch.testing.assert_close(torch.from_numpy(other), alone.mean)
    words = BagOfWords().double()
    words(draw(8, 6, 2), draw(4, 2, seed=1))
    assert scale == same == pytest.approx(float(words.scale), rel=1e-12)
    apart = torch.cat([sinkhorn(cosines()[:3]), sinkhorn(cosines()[3:])])
    assert float((apart - sinkhorn(cosines())).abs().max()) > 0.01


def test_centred_softmax_by_loops():
    scores, centre = cosines(), draw(5, seed=1)
    got = centred_softmax(scores, centre, tau=0.07)
    for i in range(8):
        powers = [math.exp((float(scores[i, j]) - float(centre[j])) / 0.07) for j in range(5)]
        expected = torch.tensor([p / sum(powers) for p in powers], dtype=torch.float64)
        torch.testing.assert_close(got[i], expected)
    torch.testing.assert_close(centred_softmax(scores + 3, centre + 3, tau=0.07), got)
    assert not centred_softmax(scores.requires_grad_(), centre).requires_grad
    with pytest.raises(ConventionError, match="tau"):
        centred_softmax(scores, centre, tau=0.0)


def test_centre_is_a_running_mean_and_is_given_before_the_batch_counts():
    centre = Centre(5, momentum=0.75).double()
    expected = torch.zeros(5).double()
    for seed in range(4):
        scores = cosines(seed=seed)
        torch.testing.assert_close(centre(scores), expected)
        expected = 0.75 * expected + 0.25 * scores.mean(0)
    centre.eval()
    for _ in range(2):
        torch.testing.assert_close(centre(cosines()), expected)
    assert list(centre.state_dict()) == ["mean"]
    with pytest.raises(ShapeError, match="5 columns"):
        centre(torch.zeros(3, 4))
    with pytest.raises(ConventionError, match="momentum"):
        Centre(5, momentum=-0.1)


def test_hard_targets():
    scores = cosines()
    got = hard_targets(scores.argmax(1), 5)
    assert torch.equal(got, torch.nn.functional.one_hot(scores.argmax(1), 5).float())
    assert hard_targets(torch.zeros(0, dtype=torch.int64), 3).shape == (0, 3)
    for bad in (-1, 3):
        with pytest.raises(ConventionError, match="integers from 0 to 2"):
            hard_targets(torch.tensor([0, bad]), 3)


def test_centroids_by_loops_with_empty_clusters():
    z, assignment = draw(9, 3).requires_grad_(), torch.tensor([0, 2, 2, 5, 0, 0, 2, 5, 5])
    mean, empty = centroids(z, assignment, 7)
    for k in range(7):
        rows = [z[i] for i in range(9) if int(assignment[i]) == k]
        assert bool(empty[k]) is (not rows)
        torch.testing.assert_close(mean[k], sum(rows) / len(rows) if rows else 0 * z[0])
    assert torch.autograd.gradcheck(lambda z: centroids(z, assignment, 7).mean, (z,))
    assert centroids(z.detach().half(), assignment, 7).mean.dtype == torch.float32
    with pytest.raises(ConventionError, match="integers from 0 to 4"):
        centroids(z, assignment, 5)
    with pytest.raises(ConventionError, match="count"):
        centroids(z, assignment, 0)


def test_nothing_of_the_other_modality_enters_back_translated_centroids():
    own, other = draw(20, 3), draw(20, 6, seed=1)

    def translated(other):
        means = other[:4]
        return back_translated_centroids(own, torch.cdist(other, means).argmin(1), 4)

    mean, empty = translated(other)
    shifted, _ = translated(other + 5.0)
    torch.testing.assert_close(mean, shifted)
    assert not bool(empty.any())
    nearest = torch.cdist(other, other[:4]).argmin(1)
    torch.testing.assert_close(mean[1], own[nearest == 1].mean(0))


def densities_by_loops(distance, assignment, count, tau, smoothing):
    phi = np.zeros(count)
    for c in range(count):
        members = [math.sqrt(float(x)) for x, a in zip(distance, assignment, strict=True) if a == c]
        if len(members) > 1:
            phi[c] = sum(members) / len(members) / math.log(len(members) + smoothing)
    for c in range(count):
        if sum(1 for a in assignment if a == c) <= 1:
            phi[c] = phi.max()
    phi = np.clip(phi, np.percentile(phi, 10), np.percentile(phi, 90))
    return torch.from_numpy(tau * phi / phi.mean())


@pytest.mark.parametrize("smoothing", [5.0, 10.0])
def test_density_temperatures_by_loops(smoothing):
    assignment = torch.randint(0, 8, (40,), generator=torch.Generator().manual_seed(0))
    assignment[assignment == 3] = 4
    assignment[assignment == 6] = 4
    assignment[0] = 6
    distance = draw(40, seed=1).square()
    expected = densities_by_loops(distance, assignment.tolist(), 8, 0.2, smoothing)
    got = density_temperatures(distance, assignment, 8, tau=0.2, smoothing=smoothing)
    torch.testing.assert_close(got, expected)
    assert float(got.mean()) == pytest.approx(0.2)
    assert got[3] == got[6] == got.max()


def test_tight_clusters_get_low_temperatures_and_a_score_would_turn_them_round():
    assignment = torch.arange(4).repeat_interleave(10)
    distance = (assignment + 1.0).double()
    phi = density_temperatures(distance, assignment, 4)
    assert bool((phi.diff() >= 0).all())
    assert float(phi[3] - phi[0]) > 0.01
    fed_a_score = density_temperatures(1 / distance, assignment, 4)
    assert bool((fed_a_score.diff() <= 0).all())


def test_density_temperatures_stay_positive():
    zero = torch.zeros(8)
    pairs = torch.arange(4).repeat_interleave(2)
    torch.testing.assert_close(density_temperatures(zero, pairs, 4), torch.full((4,), 0.1))
    torch.testing.assert_close(density_temperatures(zero + 1, torch.arange(8), 8), zero + 0.1)
    half = torch.cat([zero[:4], zero[:4] + 1])
    assert bool((density_temperatures(half, pairs, 4) > 0).all())
    with pytest.raises(ConventionError, match="not similarities"):
        density_temperatures(zero - 0.5, pairs, 4)
    with pytest.raises(ConventionError, match="tau"):
        density_temperatures(zero, pairs, 4, tau=0.0)


def bag_by_loops(features, words, sharpness, keep):
    codes = []
    for image, places in zip(features, keep, strict=True):
        best = [0.0] * len(words)
        for f, kept in zip(image, places, strict=True):
            if not kept:
                continue
            e = [math.exp(-sharpness * float((f - w).square().sum())) for w in words]
            best = [max(b, x / sum(e)) for b, x in zip(best, e, strict=True)]
        codes.append([b / sum(best) for b in best])
    return torch.tensor(codes, dtype=torch.float64)


def test_bag_of_words_by_loops():
    features, words = draw(3, 5, 2), draw(4, 2, seed=1)
    keep = torch.rand(3, 5, generator=torch.Generator().manual_seed(0)) > 0.3
    scale = torch.tensor(4.0)
    got = bag_of_words(features, words, scale, keep=keep)
    torch.testing.assert_close(got, bag_by_loops(features, words, 15 / 4, keep))
    everywhere = torch.ones(3, 5, dtype=torch.bool)
    got = bag_of_words(features, words, scale, sharpness=3.0)
    torch.testing.assert_close(got, bag_by_loops(features, words, 3 / 4, everywhere))
    order = torch.randperm(5)
    torch.testing.assert_close(bag_of_words(features[:, order], words, scale, sharpness=3.0), got)


def test_the_border_does_not_count():
    features, words = draw(2, 5, 2), draw(4, 2, seed=1)
    inner = torch.tensor([[False, True, True, True, False]])
    changed = features.clone()
    changed[:, [0, 4]] += 10
    codes = [bag_of_words(x, words, torch.tensor(1.0), keep=inner) for x in (features, changed)]
    assert torch.equal(*codes)
    codes = [bag_of_words(x, words, torch.tensor(1.0)) for x in (features, changed)]
    assert not torch.equal(*codes)


def test_the_scale_is_a_running_mean_of_the_distance_to_the_nearest_word():
    module, words = BagOfWords(momentum=0.75).double(), draw(4, 2, seed=1)
    scale = None
    for seed in range(3):
        features = draw(3, 5, 2, seed=10 + seed)
        mean = (features[:, :, None] - words).square().sum(3).amin(2).mean()
        scale = mean if scale is None else 0.75 * scale + 0.25 * mean
        codes = module(features, words)
        torch.testing.assert_close(module.scale, scale)
        torch.testing.assert_close(codes, bag_of_words(features, words, scale))
    module.eval()
    module(features + 9, words)
    torch.testing.assert_close(module.scale, scale)
    restored = BagOfWords().double()
    restored.load_state_dict(module.state_dict())
    torch.testing.assert_close(restored.eval()(features, words), module(features, words))


def test_bag_of_words_in_half_precision_and_at_the_words_themselves():
    words = draw(4, 2, seed=1).half()
    codes = BagOfWords()(words[None], words)
    torch.testing.assert_close(codes, torch.full((1, 4), 0.25))
    assert codes.dtype == torch.float32


def test_refusals_of_bag_of_words():
    features, words, scale = draw(2, 5, 2), draw(4, 2), torch.tensor(1.0)
    none = torch.zeros(2, 5, dtype=torch.bool)
    module = BagOfWords().double()
    with pytest.raises(ConventionError, match="first batch"):
        module.eval()(features, words)
    with pytest.raises(ConventionError, match="place that counts"):
        module.train()(features, words, keep=none)
    assert float(module.scale) == 1.0
    with pytest.raises(ConventionError, match="place that counts"):
        bag_of_words(features, words, scale, keep=none)
    with pytest.raises(ConventionError, match="scale"):
        bag_of_words(features, words, 0 * scale)
    with pytest.raises(ConventionError, match="sharpness"):
        bag_of_words(features, words, scale, sharpness=0.0)
    with pytest.raises(ShapeError, match="words"):
        bag_of_words(features, words[:0], scale)
