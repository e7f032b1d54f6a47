"""Scores by loops, retrieval by known predictors, probes on planted structure."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from scipy.spatial.transform import Rotation

from equivariant.actions import Trivial, Vectors
from equivariant.errors import ShapeError
from equivariant.groups import SO3, relative_quaternion_xyzw
from equivariant.measure import (
    Features,
    ProbeConfig,
    classification_score,
    collapse,
    color_probe,
    linear_probe,
    online_probe,
    pair_error,
    prediction_retrieval_error,
    quaternion_angle_deg,
    regression_score,
    retrieval,
    rotation_probe,
)
from equivariant.measure.representations.ridge import ridge


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotations(*batch, seed=0):
    return SO3().sample(*batch, generator=torch.Generator().manual_seed(seed))


def test_coefficients_of_determination_by_loops():
    target, prediction = draw(50, 3) + torch.tensor([0.0, 1.0, 4.0]), draw(50, 3, seed=1)
    score = regression_score(prediction, target)
    t, p = target.numpy(), prediction.numpy()
    residual = sum((t[i, j] - p[i, j]) ** 2 for i in range(50) for j in range(3))
    total = sum((t[i, j] - t.mean()) ** 2 for i in range(50) for j in range(3))
    within = sum((t[i, j] - t[:, j].mean()) ** 2 for i in range(50) for j in range(3))
    assert score.r2_flat == pytest.approx(1 - residual / total)
    assert score.r2 == pytest.approx(1 - residual / within)
    assert score.blind_r2_flat == pytest.approx(1 - within / total)
    assert regression_score(target, target).r2 == 1.0
    assert score.r2_flat == pytest.approx(1 - (1 - score.blind_r2_flat) * (1 - score.r2))
    with pytest.raises((ShapeError, TypeCheckError)):
        regression_score(target[:1], target[:1])


def test_blind_level_of_the_published_law():
    """Flat R² of the mean quaternion under 3DIEBench's law is 0.229."""
    rng = np.random.default_rng(0)
    a, b = (
        Rotation.from_euler("xyz", rng.uniform(-np.pi / 2, np.pi / 2, (200_000, 3))) for _ in "ab"
    )
    q = relative_quaternion_xyzw(*(torch.from_numpy(r.as_matrix()) for r in (a, b)))
    score = regression_score(q.mean(0).expand_as(q), q)
    assert score.blind_r2_flat == pytest.approx(0.229, abs=0.002)
    assert score.r2_flat == pytest.approx(score.blind_r2_flat)
    assert float((q[:, 3] < 0).double().mean()) == pytest.approx(0.045, abs=0.002)


def test_angles_against_scipy():
    a, b = Rotation.random(100, random_state=0), Rotation.random(100, random_state=1)
    expected = np.rad2deg((a.inv() * b).magnitude())
    scaled = -3.0 * torch.from_numpy(a.as_quat())
    angle = quaternion_angle_deg(scaled, torch.from_numpy(b.as_quat()))
    np.testing.assert_allclose(angle, expected, atol=1e-10)
    tiny = torch.from_numpy((a * Rotation.from_rotvec([1e-9, 0, 0])).as_quat())
    near = quaternion_angle_deg(tiny, torch.from_numpy(a.as_quat()))
    np.testing.assert_allclose(near, np.rad2deg(1e-9), rtol=1e-5)
    zero = torch.zeros(1, 4, dtype=torch.float64)
    assert float(quaternion_angle_deg(zero, torch.from_numpy(a.as_quat())[:1])) == 180.0


def test_accuracies():
    logits = torch.eye(6)[torch.tensor([0, 1, 2, 2])]
    score = classification_score(logits, torch.tensor([0, 1, 2, 1]))
    assert score.top1 == 0.75
    assert score.per_class == pytest.approx((1 + 0.5 + 1) / 3)
    assert score.majority == 0.5
    assert classification_score(torch.ones(2, 3), torch.tensor([0, 2])).top5 == 1.0


class _Oracle(Trivial):
    """Returns the true target embedding, whatever it is given."""

    def __init__(self, z):
        super().__init__(z.shape[-1])
        self.z = z

    def forward(self, g, z):
        return self.z


def test_retrieval_by_known_predictors():
    z, poses = draw(40, 50, 8), rotations(40, 50)
    elements = poses[:, :1].mT @ poses
    perfect = retrieval(_Oracle(z), z, elements)
    assert perfect.mrr == 1.0
    assert all(hit == 1.0 for hit in perfect.hits.values())
    copy = retrieval(Trivial(8), z, elements)
    assert copy.mrr == pytest.approx(sum(1 / k for k in range(1, 51)) / 50, abs=0.001)
    assert copy.mrr == pytest.approx(0.090, abs=0.001) == copy.copy_mrr
    assert copy.hits[1] == pytest.approx(0.02)
    assert copy.hits[5] == pytest.approx(0.10)
    assert copy.chance_hits[5] == 0.1
    exact = Vectors(SO3(), 4)
    base = draw(40, 1, 12)
    moved = exact(poses, base)
    world = poses @ poses[:, :1].mT
    assert retrieval(exact, moved, world).mrr == 1.0
    assert retrieval(exact, moved, world.mT).mrr < 0.5
    with pytest.raises((ShapeError, TypeCheckError)):
        retrieval(exact, moved, world[:, :3])


def test_ranks_by_a_loop():
    z, elements = draw(5, 7, 6), rotations(5, 7)
    action = Vectors(SO3(), 2)
    total = 0.0
    for o in range(5):
        for j in range(7):
            p = action(elements[o, j], z[o, 0])
            likeness = [float(p @ z[o, k] / z[o, k].norm()) for k in range(7)]
            total += 1 / (1 + sum(s > likeness[j] for s in likeness))
    assert retrieval(action, z, elements).mrr == pytest.approx(total / 35)


def test_prediction_retrieval_error():
    rng = np.random.default_rng(0)
    angles = rng.uniform(-np.pi / 2, np.pi / 2, (200 * 50, 3))
    poses = torch.from_numpy(Rotation.from_euler("xyz", angles).as_matrix()).view(200, 50, 3, 3)
    z = draw(200, 50, 16)
    elements = poses[:, :1].mT @ poses
    perfect = prediction_retrieval_error(_Oracle(z), z, elements, poses, chunk=777)
    assert perfect.pre == pytest.approx(0.0, abs=1e-12)
    copy = prediction_retrieval_error(Trivial(16), z, elements, poses)
    assert copy.pre == pytest.approx(copy.copy)
    assert copy.copy == pytest.approx(0.614, abs=0.02)
    assert copy.random == pytest.approx(0.627, abs=0.02)


CONFIG = ProbeConfig(epochs=80, hidden=64, batch_size=64, min_steps=0)


def planted(objects, seed):
    """Features that hold the pose and the class linearly, and nothing of color."""
    poses = rotations(objects, 6, seed=seed)
    label = torch.arange(objects) % 4
    code = torch.eye(4).double()[label][:, None].expand(-1, 6, -1)
    noise = draw(objects, 6, 3, seed=seed + 1)
    y = torch.cat([poses.flatten(-2), code, noise], -1).float()
    return Features(y, label), poses


def test_probes_find_what_is_planted_and_nothing_else():
    (train, train_poses), (val, val_poses) = planted(256, 0), planted(64, 5)
    pairs = torch.tensor([[o, 0, 1 + o % 5] for o in range(64)])

    def target(poses):
        return lambda o, i, j: relative_quaternion_xyzw(poses[o, i], poses[o, j])

    assert linear_probe(train, val, classes=4, config=CONFIG).top1 == 1.0
    probe = {
        "train_target": target(train_poses),
        "val_target": target(val_poses),
        "val_pairs": pairs,
    }
    seen = rotation_probe(train, val, config=CONFIG, **probe)
    blind = rotation_probe(
        train.part(slice(9, None)), val.part(slice(9, None)), config=CONFIG, **probe
    )
    assert seen.score.r2 > 0.25 > 0.1 > blind.score.r2
    assert seen.median_deg < blind.median_deg
    again = rotation_probe(train, val, config=CONFIG, **probe)
    assert again == seen
    hue = draw(256, 6, 2, seed=9)
    nothing = {
        "train_target": lambda o, i, j: hue[o, j] - hue[o, i],
        "val_target": lambda o, i, j: hue[o, j] - hue[o, i],
        "val_pairs": pairs,
    }
    assert color_probe(train, val, config=CONFIG, **nothing).r2 < 0.1
    with pytest.raises((ShapeError, TypeCheckError)):
        Features(torch.zeros(3, 2, 4), torch.zeros(4, dtype=torch.int64))


def test_online_probe_and_ridge():
    x, y = draw(30, 5), draw(30, 2, seed=1)
    weight, offset = ridge(x, y, penalty=1e-12)
    design = torch.cat([x, torch.ones(30, 1).double()], 1)
    torch.testing.assert_close(torch.cat([weight, offset[None]]), torch.linalg.lstsq(design, y)[0])
    (train, poses), (val, val_poses) = planted(200, 0), planted(50, 3)
    known = {"train_label": train.label, "val_label": val.label}
    result = online_probe(
        train.y[:, 0],
        val.y[:, 0],
        train_rotation=poses[:, 0],
        val_rotation=val_poses[:, 0],
        **known,
    )
    assert result["top1"] == 1.0
    assert result["rotation_r2"] > 0.95


def test_collapse():
    assert collapse(torch.ones(10, 4)).effective_rank == 0.0
    white = torch.cat([torch.eye(4), -torch.eye(4)])
    assert collapse(white).effective_rank == pytest.approx(4.0)
    line = torch.outer(torch.arange(5.0), torch.tensor([1.0, 2.0]))
    assert collapse(line).effective_rank == pytest.approx(1.0)
    assert collapse(torch.cat([white, torch.zeros(8, 4)], 1)).dead == 0.5
    with pytest.raises((ShapeError, TypeCheckError)):
        collapse(torch.ones(1, 4))


def test_pair_errors():
    g, z = rotations(30), draw(30, 6)
    action = Vectors(SO3(), 2)
    moved = action(g, z)
    right = pair_error(action, z, moved, g)
    assert float(right.relative.max()) < 1e-14
    assert float(right.cosine.min()) > 1 - 1e-12
    assert float(right.unmoved.mean()) > 0.5 < float(right.shuffled.mean())
    wrong = pair_error(action, z, moved, g.mT)
    assert float(wrong.relative.mean()) > 0.3
