"""Encoders that say nothing score as chance, and those that say NaN are refused."""

from itertools import pairwise, permutations

import pytest
import torch

from equivariant.actions import Trivial, Vectors
from equivariant.errors import ConventionError
from equivariant.groups import SO3
from equivariant.measure import (
    Features,
    ProbeConfig,
    collapse,
    linear_probe,
    online_probe,
    pair_error,
    prediction_retrieval_error,
    regression_score,
    retrieval,
)

ACTION = Vectors(SO3(), channels=2)


def draws(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def rotations(*batch, seed=0, dtype=torch.float32):
    return SO3().sample(*batch, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("views", [2, 4, 8, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("constant", [0.0, 1.0, 1e-25])
def test_a_constant_embedding_scores_as_chance(views, dtype, constant):
    z = torch.full((3, views, 6), constant).to(dtype)
    g, poses = rotations(3, views, dtype=dtype), rotations(3, views, dtype=torch.float64)
    found = retrieval(ACTION, z, g)
    assert found.mrr == pytest.approx(found.chance_mrr) == pytest.approx(found.copy_mrr)
    assert found.hits == pytest.approx(found.chance_hits)
    error = prediction_retrieval_error(ACTION, z, g, poses)
    q = rotation_angles(poses.flatten(0, 1))
    assert error.pre == pytest.approx(float((q / 2).sin().square().mean()), abs=1e-6)


def rotation_angles(poses):
    """All angles between pairs of rotations, from the trace."""
    cosine = (torch.einsum("aij,bij->ab", poses, poses) - 1) / 2
    return cosine.clamp(-1, 1).acos()


def test_an_embedding_constant_up_to_rounding_scores_as_chance():
    z = draws(1, 1, 6).expand(5, 20, 6) * (1 + 1e-7 * draws(5, 20, 6, seed=1))
    found = retrieval(ACTION, z, rotations(5, 20))
    assert found.mrr == pytest.approx(found.chance_mrr)


def test_a_tie_gets_the_mean_over_its_orders():
    """Every order of the tied candidates by hand: two better, three tied, one worse."""
    z = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [-1.0, 0.0]])
    found = retrieval(Trivial(2), z[None], torch.eye(3).expand(1, 6, 3, 3), ks=(1, 3, 4))
    reciprocals, hits = [], {1: [], 3: [], 4: []}
    for true in range(6):
        cosine = [float(z[0] @ z[k]) / float(z[k].norm()) for k in range(6)]
        for order in permutations(range(6)):
            if all(cosine[a] >= cosine[b] for a, b in pairwise(order)):
                rank = 1 + order.index(true)
                reciprocals.append(1 / rank)
                for k, counted in hits.items():
                    counted.append(rank <= k)
    assert found.mrr == pytest.approx(sum(reciprocals) / len(reciprocals))
    for k, counted in hits.items():
        assert found.hits[k] == pytest.approx(sum(counted) / len(counted))
    middle = 1 / (1 + 2 + 1)  # the mean rank of the tie, which is not the mean of 1 / rank
    assert abs(found.mrr - (1 + 1 / 2 + 3 * middle + 1 / 6) / 6) > 1e-3


def test_the_nearest_of_several_equal_images_is_their_mean():
    poses = rotations(2, 3, dtype=torch.float64)
    z = torch.eye(6, dtype=torch.float64).view(2, 3, 6)
    z[1, 2] = z[0, 1]
    found = prediction_retrieval_error(_Own(z), z, poses, poses)
    half = (rotation_angles(poses.flatten(0, 1)) / 2).sin().square()
    assert found.pre == pytest.approx(float(half[1, 5] / 2 + half[5, 1] / 2) / 6)


class _Own(Trivial):
    """Predicts every view's own embedding."""

    def __init__(self, z):
        super().__init__(z.shape[-1])
        self.z = z

    def forward(self, g, z):
        return self.z


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_by_name(bad):
    z, g = draws(6, 4, 6), rotations(6, 4)
    z[:3, 1, 2] = bad
    flat, label = z.flatten(0, 1), torch.arange(24) % 3
    turned, poses = rotations(24), rotations(6, 4, dtype=torch.float64)
    config = ProbeConfig(epochs=1, min_steps=0)
    calls = {
        "z: .* 3 of 6 objects": lambda: retrieval(ACTION, z, g),
        "z: .* 3 of 6 objects ": lambda: prediction_retrieval_error(ACTION, z, g, poses),
        "z_a": lambda: pair_error(ACTION, flat, flat, turned),
        "z: .* 3 of 24": lambda: collapse(flat),
        "y: .* 3 of 6 objects": lambda: Features(z, label[:6]),
        "prediction": lambda: regression_score(flat, flat.nan_to_num(0, 0, 0)),
        "train_y": lambda: online_probe(
            flat, flat, train_label=label, val_label=label, train_rotation=turned,
            val_rotation=turned,
        ),
    }  # fmt: skip
    for words, call in calls.items():
        with pytest.raises(ConventionError, match=words.strip()):
            call()
    good = Features(z.nan_to_num(0, 0, 0), label[:6])
    assert linear_probe(good, good, classes=3, config=config).top5 == 1.0


def test_an_action_that_overflows_is_refused():
    huge = torch.full((2, 3, 6), 3e38)
    with pytest.raises(ConventionError, match="action"):
        retrieval(ACTION, huge, 2 * rotations(2, 3))
