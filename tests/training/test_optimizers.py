"""Optimizers by name, decay by groups, and steps in parts: oracles, exact resume, refusals."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from two_processes import Stream, make_learner

from equivariant.errors import ConventionError
from equivariant.runs import RunFolder, write_json
from equivariant.training import LARS, FitConfig, Learner, fit, make_optimizer, parameter_groups

CONFIG = FitConfig(steps=6, batch_size=8, accelerator="cpu", log_every=1, checkpoint_every=3)


class Squares(Learner):
    """A regression: its loss is a mean over samples."""

    mean_over_samples = True

    def forward(self, a, b, g, **known):
        loss = (self.model(a) - b).square().mean()
        return loss, {"squares": loss.detach()}


def regression(norm=False):
    torch.manual_seed(1)
    layers = [nn.Linear(3, 5), nn.BatchNorm1d(5) if norm else nn.LayerNorm(5), nn.Tanh()]
    return Squares(nn.Sequential(*layers, nn.Linear(5, 3))).double()


def run_at(path):
    path.mkdir()
    write_json(path / "config.json", CONFIG)
    return RunFolder(path)


def trained(path, learner, optimizer=None, **changes):
    config = replace(CONFIG, **changes)
    return fit(learner, Stream(), config, run=run_at(path), progress=False, optimizer=optimizer)


def naive_lars(weights, gradients, *, lr, momentum, decay, trust):
    """Weights after a list of gradients, number by number."""
    values = [float(w) for w in weights]
    velocity = [0.0] * len(values)
    for gradient in gradients:
        update = [float(g) + decay * w for g, w in zip(gradient, values, strict=True)]
        size = sum(w * w for w in values) ** 0.5, sum(u * u for u in update) ** 0.5
        rate = trust * size[0] / size[1] if min(size) > 0 else 1.0
        velocity = [momentum * v + rate * u for v, u in zip(velocity, update, strict=True)]
        values = [w - lr * v for w, v in zip(values, velocity, strict=True)]
    return torch.tensor(values, dtype=torch.float64)


def test_lars_is_its_formula_and_leaves_biases_to_plain_descent():
    torch.manual_seed(0)
    layer = nn.Linear(3, 2).double()
    settings = {"lr": 0.4, "momentum": 0.7, "trust": 0.02}
    optimizer = LARS(layer.parameters(), weight_decay=0.1, **settings)
    start, bias = layer.weight.detach().flatten().clone(), layer.bias.detach().clone()
    gradients = torch.randn(4, 2, 3, dtype=torch.float64)
    for gradient in gradients:
        layer.weight.grad, layer.bias.grad = gradient.clone(), gradient[:, 0].clone()
        optimizer.step()
    expected = naive_lars(start, gradients.flatten(1), decay=0.1, **settings)
    torch.testing.assert_close(layer.weight.detach().flatten(), expected)
    wrong = naive_lars(start, gradients.flatten(1), decay=0.0, **settings)
    assert not torch.allclose(layer.weight.detach().flatten(), wrong)
    moved, velocity = bias, torch.zeros(2, dtype=torch.float64)
    for gradient in gradients:
        velocity = 0.7 * velocity + gradient[:, 0]
        moved = moved - 0.4 * velocity
    torch.testing.assert_close(layer.bias.detach(), moved)


def test_lars_of_zero_weights_or_gradients_is_plain_descent():
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = LARS([weight], lr=0.5, momentum=0.0)
    weight.grad = torch.ones(2, 2)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.full((2, 2), -0.5))
    weight.grad = torch.zeros(2, 2)
    optimizer.step()
    assert bool(weight.isfinite().all())
    with pytest.raises(ConventionError, match=r"momentum=1\.0"):
        LARS([weight], lr=0.1, momentum=1.0)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_decay_spares_biases_and_normalizations_where_that_is_asked_for(name):
    for decay_on, spared in (("weights", True), ("all", name == "lars")):
        module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        with torch.no_grad():
            module[0].bias.fill_(1.0)
        before = [p.detach().clone() for p in module.parameters()]
        config = FitConfig(
            optimizer=name, weight_decay=0.5, learning_rate=0.1, decay_on=decay_on, momentum=0.0
        )
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        make_optimizer(module, config).step()
        same = [torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True)]
        # weight, bias, scale, shift; a shift of 0 has nothing to lose
        assert same == [False, spared, spared, True]


def test_groups_hold_every_parameter_once():
    learner = make_learner(batch_norm=True)
    for decay_on in ("all", "weights"):
        groups = parameter_groups(learner, 0.1, decay_on)
        found = [id(p) for group in groups for p in group["params"]]
        assert sorted(found) == sorted(id(p) for p in learner.parameters())
    assert all(p.ndim <= 1 for p in groups[1]["params"])
    assert groups[1]["weight_decay"] == 0.0


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "decay_on": "weights", "weight_decay": 0.1, "amsgrad": True},
        {"optimizer": "sgd", "learning_rate": 0.01},
        {"optimizer": "lars", "learning_rate": 0.1, "precision": "bf16"},
        {"optimizer": "adam", "accumulate": 2, "schedule": "cosine", "gradient_clip": 0.1},
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one_under_every_optimizer(tmp_path, changes):
    class Stopped(Stream):
        def stream(self, batch_size, *, start=0, rank=0, world=1):
            for step, batch in enumerate(super().stream(batch_size, start=start), start):
                if step == 4:
                    raise KeyboardInterrupt
                yield batch

    def learner():
        return regression().float() if config.precision == "bf16" else regression()

    config = replace(CONFIG, **changes)
    whole, parts = run_at(tmp_path / "whole"), run_at(tmp_path / "parts")
    fit(learner(), Stream(), config, run=whole, progress=False)
    with pytest.raises(KeyboardInterrupt):
        fit(learner(), Stopped(), config, run=parts, progress=False)
    fit(learner(), Stream(), config, run=parts, progress=False)
    assert parts.weights.read_bytes() == whole.weights.read_bytes()
    assert parts.resume.read_bytes() == whole.resume.read_bytes()
    with pytest.raises(ConventionError, match="optimizer"):
        other = "sgd" if config.optimizer != "sgd" else "adam"
        fit(learner(), Stream(), replace(config, optimizer=other, amsgrad=False, steps=8),
            run=parts, progress=False)  # fmt: skip


def test_an_optimizer_of_ones_own(tmp_path):
    def rms(groups):
        return torch.optim.RMSprop(groups, lr=1.0)

    made = trained(tmp_path / "a", regression(), optimizer=rms, weight_decay=0.01)
    plain = regression()
    descent = torch.optim.RMSprop(plain.parameters(), lr=CONFIG.learning_rate, weight_decay=0.01)
    batches = Stream().stream(8)
    for _ in range(CONFIG.steps):
        descent.zero_grad()
        plain(**next(batches).tensors())[0].backward()
        descent.step()
    for one, other in zip(made.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(ConventionError, match="optimizer"):
        fit(regression(), Stream(), replace(CONFIG, weight_decay=0.01, steps=8),
            run=RunFolder(tmp_path / "a"), progress=False)  # fmt: skip
    with pytest.raises(ConventionError, match=r"torch\.optim\.Optimizer"):
        trained(tmp_path / "b", regression(), optimizer=lambda groups: None)


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulated_parts_are_the_whole_batch_for_a_mean_over_samples(tmp_path, parts):
    whole = trained(tmp_path / "whole", regression(), optimizer=None)
    split = trained(tmp_path / "split", regression(), accumulate=parts)
    for one, other in zip(whole.parameters(), split.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_parts_are_another_step_where_statistics_are_of_the_batch(tmp_path):
    whole = trained(tmp_path / "whole", regression(norm=True))
    split = trained(tmp_path / "split", regression(norm=True), accumulate=2)
    pairs = zip(whole.parameters(), split.parameters(), strict=True)
    assert not all(torch.allclose(a, b, rtol=1e-6) for a, b in pairs)


def test_losses_of_the_whole_batch_are_not_accumulated(tmp_path):
    learner = make_learner(batch_norm=False)
    with pytest.raises(ConventionError, match="cached_step"):
        trained(tmp_path / "a", learner, accumulate=2)
    # What the refusal is for: a variance term of parts is another loss.
    learner.mean_over_samples = True
    split = trained(tmp_path / "b", learner, accumulate=2)
    whole = trained(tmp_path / "c", make_learner(batch_norm=False))
    pairs = zip(whole.parameters(), split.parameters(), strict=True)
    assert not all(torch.allclose(a, b, rtol=1e-6) for a, b in pairs)


def test_settings_of_optimizers_are_checked():
    for wrong in (
        {"momentum": 1.0}, {"weight_decay": -1.0}, {"accumulate": 0},
        {"batch_size": 10, "accumulate": 4},
        {"optimizer": "sgd", "amsgrad": True},
    ):  # fmt: skip
        with pytest.raises(ConventionError):
            FitConfig(**wrong)


def test_gradients_are_refused_for_what_is_not_finite_and_not_for_their_size(tmp_path):
    class Pushed(Squares):
        def __init__(self, push):
            super().__init__(nn.Linear(3, 3).float())
            self.push = push

        def forward(self, a, b, g, **known):
            return (self.model.weight * self.push).sum() + 0 * a.sum(), {}

    big = torch.full((3, 3), 1.5e38)  # finite, with a sum that is not
    trained(tmp_path / "big", Pushed(big), optimizer=None, weight_decay=0.0, steps=1)
    opposite = torch.zeros(3, 3)
    opposite[0, 0], opposite[1, 1] = float("inf"), float("-inf")
    with pytest.raises(ConventionError, match="gradients"):
        trained(tmp_path / "inf", Pushed(opposite), steps=1)
