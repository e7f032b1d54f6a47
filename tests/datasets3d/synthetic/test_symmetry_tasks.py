"""Tasks by loops over points, and the symmetries that they say they have."""

import pytest
import torch

from datasets3d.synthetic import cosine_task, distance_task, inertia_task
from equivariant.errors import ConventionError


def test_inertia_by_a_loop():
    task = inertia_task(5, seed=0, breaking=0.3, axis="y")
    for x, y in zip(task.x.double(), task.y.double(), strict=True):
        expected = torch.zeros(3, 3).double()
        for m, r in zip(x[:5], x[5:].reshape(5, 3), strict=True):
            for i in range(3):
                for j in range(3):
                    expected[i, j] += m * ((r @ r) * (i == j) - r[i] * r[j])
        broken = expected.clone()
        broken[:, 1] += 0.3 * expected[:, 1]
        torch.testing.assert_close(y.reshape(3, 3), broken, atol=1e-4, rtol=1e-5)
    assert bool((task.x[:, :5] > 0).all())


TASKS = {
    "inertia": (inertia_task, {"breaking": 0.0}), "z": (inertia_task, {"breaking": 0.9}),
    "x": (inertia_task, {"breaking": -1.0, "axis": "x"}), "cosine": (cosine_task, {}),
    "turning": (cosine_task, {"breaks": "scale"}), "scaling": (cosine_task, {"breaks": "turns"}),
    "distance": (distance_task, {}), "turns": (distance_task, {"breaks": "shifts"}),
    "shifts": (distance_task, {"breaks": "turns"}),
}  # fmt: skip


@pytest.mark.parametrize("name", TASKS)
def test_tasks_have_the_symmetries_that_they_claim(name):
    """Recomputed from moved inputs: exact candidates agree, the others do not."""
    make, settings = TASKS[name]
    task = make(40, seed=1, **settings)
    assert task.exact
    assert set(task.exact) <= set(task.candidates)
    for label, group in task.candidates.items():
        g = group.sample(40, generator=torch.Generator().manual_seed(2), scale=0.5)
        act_in, act_out = task.act_in.under(group), task.act_out.under(group)
        moved = target(make, act_in(g, task.x.double()), settings)
        expected = act_out(g, target(make, task.x.double(), settings))
        error = float((moved - expected).abs().max() / expected.abs().max())
        assert (error < 1e-9) == (label in task.exact), (label, error)
    torch.testing.assert_close(target(make, task.x.double(), settings).float(), task.y, atol=1e-4,
                               rtol=1e-4)  # fmt: skip


def target(make, x, settings):
    """The formulas once more, from inputs."""
    if make is inertia_task:
        m, r = x[:, :5], x[:, 5:].unflatten(1, (5, 3))
        eye = torch.eye(3).double()
        inertia = torch.einsum("zk,zki,zki,ab->zab", m, r, r, eye)
        inertia = inertia - torch.einsum("zk,zka,zkb->zab", m, r, r)
        e = eye["xyz".index(settings.get("axis", "z"))]
        return (
            inertia + settings["breaking"] * torch.einsum("zab,b,c->zac", inertia, e, e)
        ).flatten(1)
    points = x.unflatten(1, (3, -1))[..., :3]
    a, b, c = points.unbind(1)
    breaks = settings.get("breaks", "none")
    lengths = points.norm(dim=-1).mean(1)
    if make is cosine_task:
        y = sum(
            (u * v).sum(-1) / u.norm(dim=-1) / v.norm(dim=-1) for u, v in ((a, b), (b, c), (c, a))
        )
        y = y / 3
        if breaks == "turns":
            y = y - 0.3 * a.abs().sum(-1) / (b.abs().sum(-1) + c.abs().sum(-1))
        return (y - 0.3 * lengths * (breaks == "scale"))[:, None]
    y = ((a - b).norm(dim=-1) + (b - c).norm(dim=-1) + (c - a).norm(dim=-1)) / 3
    if breaks == "turns":
        y = y - 0.1 * ((a - b).abs() + (b - c).abs() + (c - a).abs()).sum(-1)
    return (y - 0.3 * lengths * (breaks == "shifts"))[:, None]


def test_seeds_shifts_and_refusals():
    first, again, other = (inertia_task(8, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    shifted = inertia_task(2000, seed=0, shift=1.0)
    assert float(shifted.x[:, 5:].mean()) == pytest.approx(1.0, abs=0.05)
    for build in (lambda: inertia_task(0, seed=0), lambda: inertia_task(1, seed=0, masses=0),
                  lambda: cosine_task(1, seed=0, vectors=1),
                  lambda: distance_task(1, seed=0, points=1)):  # fmt: skip
        with pytest.raises(ConventionError, match="at least"):
            build()
