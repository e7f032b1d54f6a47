"""Projections in closed form, conflict as a detector, and a learner that flows them on."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from equivariant.errors import EquivariantError
from equivariant.losses import preset
from equivariant.runs import RunFolder, write_json
from equivariant.training import FitConfig, fit
from equivariant.training.learners.harmonized import HarmonizedLearner
from equivariant.training.surgery import conflict, harmonized


def drawn(losses=3, rows=9, width=5, seed=0):
    source = torch.Generator().manual_seed(seed)
    shape = (losses, rows, width)
    return list(torch.randn(shape, generator=source, dtype=torch.float64))


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def by_loops(gradients):
    rows = [g.tolist() for g in gradients]
    results = []
    for a in range(len(rows)):
        result = []
        for i in range(len(rows[a])):
            g = rows[a][i]
            for b in range(len(rows)):
                if b != a and dot(g, rows[b][i]) < 0:
                    share = dot(g, rows[b][i]) / dot(rows[b][i], rows[b][i])
                    g = [x - share * y for x, y in zip(g, rows[b][i], strict=True)]
            result.append(g)
        results.append(torch.tensor(result, dtype=torch.float64))
    return results


@pytest.mark.parametrize("losses", [2, 3, 4])
def test_projections_by_loops(losses):
    gradients = drawn(losses)
    for ours, theirs in zip(harmonized(gradients), by_loops(gradients), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_two_gradients_end_orthogonal_where_they_conflict_and_stay_elsewhere():
    a, b = drawn(2, rows=200)
    new_a, new_b = harmonized([a, b])
    conflicting = (a * b).sum(1) < 0
    assert 0 < conflicting.sum() < 200
    for new, other, old in ((new_a, b, a), (new_b, a, b)):
        assert (new * other).sum(1)[conflicting].abs().max() < 1e-12
        torch.testing.assert_close(new[~conflicting], old[~conflicting], rtol=0, atol=0)
        assert (new.norm(dim=1) <= old.norm(dim=1) + 1e-12).all()
    # a step along the sum lowers both losses to first order
    assert (((new_a + new_b) * a).sum(1) > -1e-12).all()
    twin = a - (a * b).sum(1, keepdim=True) / b.square().sum(1, keepdim=True) * b  # always
    assert not torch.allclose(twin[~conflicting], a[~conflicting])


def test_conflict_by_loops():
    gradients = drawn(3)
    expected = [
        min(
            dot(a[i], b[i]) / math.sqrt(dot(a[i], a[i]) * dot(b[i], b[i]))
            for a, b in itertools.combinations([g.tolist() for g in gradients], 2)
        )
        for i in range(9)
    ]
    torch.testing.assert_close(conflict(gradients), torch.tensor(expected).double())


def test_singular_points():
    a, zero = torch.randn(4, 3), torch.zeros(4, 3)
    torch.testing.assert_close(torch.stack(harmonized([a, zero])), torch.stack([a, zero]))
    assert conflict([a, zero]).tolist() == [0.0] * 4
    opposite = harmonized([a, -a])
    assert max(float(g.abs().max()) for g in opposite) < 1e-6
    torch.testing.assert_close(conflict([a, -a]), -torch.ones(4))
    tiny = 1e-30 * a
    torch.testing.assert_close(conflict([tiny, -tiny]), -torch.ones(4))
    half = [g.half() for g in (a, -a)]
    assert harmonized(half)[0].dtype == torch.float16
    shaped = harmonized([torch.randn(4, 2, 3), torch.randn(4, 2, 3)])
    assert shaped[0].shape == (4, 2, 3)


def test_a_common_rotation_turns_the_results():
    gradients = drawn(3)
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    for one, other in zip(
        harmonized([g @ turn for g in gradients]), harmonized(gradients), strict=True
    ):
        torch.testing.assert_close(one, other @ turn)


class Embeddings(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 6) for _ in range(3))

    def forward(self, x, y, w):
        return {"x": self.first(x), "y": self.second(y), "w": self.third(w)}


def made(curriculum=None):
    torch.manual_seed(0)
    one, other = preset("clip").build(), preset("clip").build()
    losses = {"xy": Sides(one, "x", "y"), "xw": Sides(other, "x", "w")}
    return HarmonizedLearner(Embeddings(), losses, curriculum=curriculum)


class Sides(nn.Module):
    def __init__(self, loss, first, second):
        super().__init__()
        self.loss, self.first, self.second = loss, first, second

    def forward(self, z):
        return self.loss(z[self.first], z[self.second]).total


@dataclass
class Triples:
    x: torch.Tensor
    y: torch.Tensor
    w: torch.Tensor

    def to(self, device=None):
        return self

    def tensors(self):
        return {"x": self.x, "y": self.y, "w": self.w}


class Stream:
    def stream(self, batch_size, *, start=0, rank=0, world=1):
        while True:
            source = torch.Generator().manual_seed(start)
            x, y, w = torch.randn(3, batch_size, 4, generator=source)
            yield Triples(x, x + 0.1 * y, w)
            start += 1


def test_the_learner_flows_the_projected_gradients_on():
    learner = made()
    batch = next(Stream().stream(8)).tensors()
    total, terms = learner(**batch)
    total.backward()
    found = {name: p.grad.clone() for name, p in learner.named_parameters()}
    z = learner.model(**batch)
    values = [loss(z) for loss in learner.losses.values()]
    torch.testing.assert_close(total, values[0] + values[1])
    by_x = [torch.autograd.grad(v, z["x"], retain_graph=True)[0] for v in values]
    assert (conflict(by_x) < 0).any() and terms["conflicting"] > 0
    torch.testing.assert_close(learner.conflicts, conflict(by_x))
    weight = learner.model.first.weight
    (expected,) = torch.autograd.grad(z["x"], weight, sum(harmonized(by_x)), retain_graph=True)
    torch.testing.assert_close(found["model.first.weight"], expected)
    (twin,) = torch.autograd.grad(z["x"], weight, sum(by_x), retain_graph=True)
    assert not torch.allclose(twin, expected, atol=1e-4)  # the plain sum
    for name, p in learner.named_parameters():  # all else has the plain sum's gradient
        if not name.startswith("model.first"):
            (plain,) = torch.autograd.grad(sum(values), p, retain_graph=True)
            torch.testing.assert_close(found[name], plain, msg=name)


def test_the_curriculum_leaves_conflicting_examples_out():
    learner = made((-0.5, 0.0, 4))
    batch = next(Stream().stream(16)).tensors()
    learner(**batch)[0].backward()
    out = learner.conflicts <= -0.5
    assert 0 < out.sum() < 16
    z = learner.model(**batch)
    values = [loss(z) for loss in learner.losses.values()]
    by_y = torch.autograd.grad(values[0], z["y"], retain_graph=True)[0]
    kept = torch.where(out[:, None], 0.0, by_y)
    (expected,) = torch.autograd.grad(z["y"], learner.model.second.weight, kept)
    torch.testing.assert_close(learner.model.second.weight.grad, expected)
    thresholds = []
    for _ in range(5):
        thresholds.append(learner.threshold())
        learner(**batch)
    assert thresholds == [-0.375, -0.25, -0.125, 0.0, 0.0]
    learner.eval()(**batch)
    assert int(learner.step) == 6


def test_mismatched_examples_are_found():
    """One loss has the wrong partner for a quarter of the examples: their gradients conflict."""
    source = torch.Generator().manual_seed(0)
    z = torch.randn(64, 16, generator=source)
    y, w = (z + 0.3 * torch.randn(z.shape, generator=source) for _ in range(2))
    wrong = torch.arange(64) < 16
    w[:16] = w[:16].roll(1, 0)
    leaf = (z + torch.randn(z.shape, generator=source)).requires_grad_()
    loss = preset("infonce", tau=0.2).build()
    gradients = [torch.autograd.grad(loss(leaf, side).total, leaf)[0] for side in (y, w)]
    found = conflict(gradients)
    better = (found[~wrong][:, None] > found[wrong]).double().mean()
    assert better > 0.9
    shuffled = found[torch.randperm(64, generator=source)]
    assert (shuffled[~wrong][:, None] > shuffled[wrong]).double().mean() < 0.7


def test_resume_is_exact(tmp_path):
    config = FitConfig(steps=6, batch_size=8, accelerator="cpu", log_every=1, checkpoint_every=3)
    runs = []
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "config.json", config)
        runs.append(RunFolder(tmp_path / name))
    fit(made((-0.3, 0.0, 5)), Stream(), config, run=runs[0], progress=False)

    class Stops:
        def stream(self, batch_size, *, start=0, rank=0, world=1):
            yield from itertools.islice(Stream().stream(batch_size, start=start), 4)
            raise RuntimeError("the power fails")

    with pytest.raises(RuntimeError, match="power"):
        fit(made((-0.3, 0.0, 5)), Stops(), config, run=runs[1], progress=False)
    fit(made((-0.3, 0.0, 5)), Stream(), config, run=runs[1], progress=False)
    assert runs[0].weights.read_bytes() == runs[1].weights.read_bytes()


@pytest.mark.parametrize(
    "call",
    [
        lambda: conflict([torch.ones(3, 2)]), lambda: harmonized([]),
        lambda: harmonized([torch.ones(3, 2), torch.ones(3, 1)]),
        lambda: conflict([torch.tensor(1.0), torch.tensor(1.0)]),
        lambda: HarmonizedLearner(Embeddings(), {"one": lambda z: z["x"].sum()}),
        lambda: made((0.0, -0.3, 4)), lambda: made((-0.3, 0.0, 0)), lambda: made((-2.0, 0.0, 4)),
    ],
)  # fmt: skip
def test_refusals(call):
    with pytest.raises(EquivariantError):
        call()
