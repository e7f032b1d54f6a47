"""Teachers that follow or stay, distillation by hand, noise on embeddings, and exact resume."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest
import torch
from torch import nn

from equivariant.errors import ConventionError, EquivariantError, ShapeError
from equivariant.losses.distillation import difficulty, embedding_distance, similarity_divergence
from equivariant.runs import RunFolder, write_json
from equivariant.training import FitConfig, fit
from equivariant.training.learners.noisy_head import EmbeddingNoise, NoisyHeadLearner
from equivariant.training.learners.teachers import DistillationLearner


@dataclass
class Examples:
    x: torch.Tensor
    y: torch.Tensor

    def to(self, device=None):
        return Examples(self.x.to(device), self.y.to(device))

    def tensors(self):
        return {f.name: getattr(self, f.name) for f in fields(self)}


class Stream:
    """Rows of a planted linear map; the batch of a step depends on the step alone."""

    def stream(self, batch_size, *, start=0, rank=0, world=1):
        while True:
            source = torch.Generator().manual_seed(start)
            x = torch.randn(batch_size, 6, generator=source)
            yield Examples(x, x[:, :3].cumsum(1))
            start += 1


def network(out=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, out))


def distiller(decay=None, **settings):
    teacher = network(seed=1) if decay is None else None
    return DistillationLearner(network(), teacher, decay=decay, **settings)


def test_the_loss_by_hand():
    settings = {"weights": difficulty, "task": lambda z, batch: (z - batch["y"]).square().mean()}
    learner = distiller(share=0.5, **settings)
    batch = next(Stream().stream(8)).tensors()
    total, terms = learner(**batch)
    student, teacher = learner.model(batch["x"]), learner.teacher(batch["x"])
    weighed = (difficulty(student, teacher) * embedding_distance(student, teacher)).mean()
    task = (student - batch["y"]).square().mean()
    torch.testing.assert_close(total, weighed + 0.5 * task)
    torch.testing.assert_close(terms["task"], task.detach())
    assert not any(value.requires_grad for value in terms.values())
    twin = embedding_distance(student, teacher).mean() + 0.5 * task  # without the weights
    assert (total - twin).abs() > 1e-3


def test_two_fields_and_unlike_widths():
    learner = DistillationLearner(
        network(2), nn.Linear(3, 5), divergence=similarity_divergence, teacher_sees="y"
    )
    batch = next(Stream().stream(8)).tensors()
    expected = similarity_divergence(learner.model(batch["x"]), learner.teacher(batch["y"])).mean()
    torch.testing.assert_close(learner(**batch)[0], expected)


def test_a_frozen_teacher_stays_in_evaluation_mode_and_without_gradient():
    learner = distiller().train()
    before = {name: value.clone() for name, value in learner.teacher.state_dict().items()}
    learner(**next(Stream().stream(8)).tensors())[0].backward()
    assert not learner.teacher.training and learner.model.training
    assert all(p.grad is None for p in learner.teacher.parameters())
    for name, value in learner.teacher.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_a_teacher_that_follows_by_hand():
    learner = distiller(decay=0.75)
    optimizer = torch.optim.SGD(learner.model.parameters(), lr=0.1)
    stream, expected = Stream().stream(8), [p.clone() for p in learner.model.parameters()]
    for step in range(3):
        if step:
            expected = [
                0.75 * e + 0.25 * p.detach()
                for e, p in zip(expected, learner.model.parameters(), strict=True)
            ]
        optimizer.zero_grad()
        learner(**next(stream).tensors())[0].backward()
        for teacher, own in zip(learner.teacher.parameters(), expected, strict=True):
            torch.testing.assert_close(teacher, own)
        optimizer.step()
    frozen = [p.clone() for p in learner.eval().teacher.parameters()]
    learner(**next(stream).tensors())
    assert all((a == b).all() for a, b in zip(frozen, learner.teacher.parameters(), strict=True))


def run_at(path, config):
    path.mkdir()
    write_json(path / "config.json", config)
    return RunFolder(path)


def noisy():
    torch.manual_seed(0)
    return NoisyHeadLearner(nn.Linear(6, 3), EmbeddingNoise(0.1, covariance=torch.eye(6)))


MAKERS = {
    "follows": lambda: distiller(decay=0.9),
    "frozen": lambda: distiller(weights=difficulty),
    "noise": noisy,
}


@pytest.mark.parametrize("maker", MAKERS)
def test_resume_is_exact(tmp_path, maker):
    make = MAKERS[maker]
    config = FitConfig(steps=6, batch_size=8, accelerator="cpu", log_every=1, checkpoint_every=3)
    whole, parts = run_at(tmp_path / "whole", config), run_at(tmp_path / "parts", config)
    fit(make(), Stream(), config, run=whole, progress=False)

    class Stops:
        def stream(self, batch_size, *, start=0, rank=0, world=1):
            for number, batch in enumerate(Stream().stream(batch_size, start=start)):
                if start + number == 4:
                    raise RuntimeError("the power fails")
                yield batch

    with pytest.raises(RuntimeError, match="power"):
        fit(make(), Stops(), config, run=parts, progress=False)
    torch.manual_seed(5)
    fit(make(), Stream(), config, run=parts, progress=False)
    assert parts.weights.read_bytes() == whole.weights.read_bytes()


def test_distillation_learns_what_the_teacher_says(tmp_path):
    config = FitConfig(steps=150, batch_size=32, accelerator="cpu", learning_rate=1e-2)
    learner = fit(
        distiller(), Stream(), config, run=run_at(tmp_path / "run", config), progress=False
    )
    x = torch.randn(256, 6, generator=torch.Generator().manual_seed(99))
    with torch.no_grad():
        after = embedding_distance(learner.model(x), learner.teacher(x)).mean()
        before = embedding_distance(network().eval()(x), learner.teacher(x)).mean()
    assert after < 0.25 * before


def test_noise_has_its_size_and_is_drawn_anew():
    z = torch.randn(4000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = z / z.norm(dim=1, keepdim=True)
    source = torch.Generator().manual_seed(1)
    mixing = torch.randn(5, 5, generator=source, dtype=torch.float64)
    covariance = mixing @ mixing.T / 5
    small = EmbeddingNoise(1e-3, covariance=covariance)
    moved = (small(z, generator=source) - unit) / 1e-3
    # what is left of noise of covariance C at z is (I - zzᵀ) C (I - zzᵀ)
    across = torch.eye(5).double() - unit[:, :, None] * unit[:, None, :]
    expected = (across @ covariance @ across).mean(0)
    torch.testing.assert_close(moved.T @ moved / 4000, expected, rtol=0.15, atol=0.05)
    twin = (across @ torch.eye(5).double() @ across).mean(0)
    assert (moved.T @ moved / 4000 - twin).abs().max() > 0.2
    first, second = (EmbeddingNoise(0.1)(z, generator=source) for _ in range(2))
    assert not torch.equal(first, second)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(4000).double())


def test_noise_at_its_limits():
    z = torch.randn(3, 4)
    unit = z / z.norm(dim=1, keepdim=True)
    torch.testing.assert_close(EmbeddingNoise(0.0)(z), unit)
    torch.testing.assert_close(EmbeddingNoise(0.5).eval()(z), unit)
    shift = torch.tensor([0.1, 0.0, 0.0, -0.2])
    moved = unit + shift
    expected = moved / moved.norm(dim=1, keepdim=True)
    torch.testing.assert_close(EmbeddingNoise(0.0, shift=shift)(z), expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda: distiller(decay=1.0), lambda: distiller(decay=-0.1),
        lambda: DistillationLearner(network(), network(4), decay=0.9),
        lambda: EmbeddingNoise(-0.1), lambda: EmbeddingNoise(float("nan")),
        lambda: EmbeddingNoise(0.1, covariance=-torch.eye(3)),
        lambda: EmbeddingNoise(0.1, covariance=torch.ones(3)),
    ],
)  # fmt: skip
def test_refusals(call):
    with pytest.raises(EquivariantError):
        call()


def test_values_of_rows_are_asked_for():
    with pytest.raises(ShapeError, match="divergence"):
        distiller(divergence=lambda s, t: (s - t).square().mean())(x=torch.randn(8, 6))
    with pytest.raises(ConventionError, match="fields z"):
        distiller(student_sees="z")(x=torch.ones(4, 6))
