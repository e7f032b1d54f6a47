"""Whose turn it is, the gradient through a step of the model, and exact resume."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equivariant.errors import EquivariantError
from equivariant.runs import RunFolder, write_json
from equivariant.training import AlternatingLearner, FitConfig, RowStream, fit

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))


def loss(model, augmenter, batch, draws):
    noise = torch.randn(batch["x"].shape, generator=draws).to(batch["x"])
    return (
        (model(augmenter(batch["x"]) + 0.1 * noise) - batch["x"].sum(1, keepdim=True))
        .square()
        .mean()
    )


def other(model, augmenter, batch, draws):
    return model(batch["x"]).tanh().mean() + 0.1 * augmenter(batch["x"]).square().mean()


def learner(dtype=torch.float32, norm=True, **settings):
    torch.manual_seed(0)
    layers = [nn.Linear(5, 6), *([nn.BatchNorm1d(6)] if norm else []), nn.Tanh(), nn.Linear(6, 1)]
    return AlternatingLearner(nn.Sequential(*layers), nn.Linear(5, 5), loss, **settings).to(dtype)


def gradients(module):
    return [p.grad for p in module.parameters()]


@pytest.mark.parametrize("lookahead", [None, 0.1])
def test_turns(lookahead):
    own = learner(every=3, lookahead=lookahead, augmenter_loss=other)
    optimizer = torch.optim.Adam(own.parameters(), lr=0.1)
    for step in range(7):
        before = {n: p.detach().clone() for n, p in own.named_parameters()}
        own.generator = torch.Generator().manual_seed(step)
        total, terms = own(x=X)
        total.backward()
        turn = step % 3 == 2
        assert list(terms) == ["augmenter" if turn else "model"]
        assert all(g is None for g in gradients(own.model)) is turn
        assert all(g is None for g in gradients(own.augmenter)) is not turn
        optimizer.step()
        optimizer.zero_grad()
        moved = {n for n, p in own.named_parameters() if not torch.equal(p, before[n])}
        assert {n.split(".")[0] for n in moved} == {"augmenter" if turn else "model"}
        assert all(p.requires_grad for p in own.parameters())
    assert int(own.done) == 7
    own.eval()(x=X)
    assert int(own.done) == 7


def test_an_adversary_ascends():
    own = learner(every=2)
    own.done.fill_(1)
    own.generator = torch.Generator().manual_seed(0)
    total = own(x=X)[0]
    expected = -loss(own.model, own.augmenter, {"x": X}, torch.Generator().manual_seed(0))
    torch.testing.assert_close(total, expected)


def test_the_gradient_through_a_step_is_that_of_finite_differences():
    rate, x = 0.3, X.double()
    own = learner(torch.float64, norm=False, lookahead=rate, augmenter_loss=other)
    own.done.fill_(1)
    own.generator = torch.Generator().manual_seed(4)
    own(x=x)[0].backward()
    weight = own.augmenter.weight

    def value(first_order=False):
        """The augmenter's loss at the model after one plain step, by hand."""
        twin = learner(torch.float64, norm=False)
        twin.augmenter.load_state_dict(own.augmenter.state_dict())
        draws = torch.Generator().manual_seed(4)
        loss(twin.model, twin.augmenter, {"x": x}, draws).backward()
        with torch.no_grad():
            for p in twin.model.parameters():
                p -= 0.0 if first_order else rate * p.grad
            return float(other(twin.model, twin.augmenter, {"x": x}, draws))

    for place in ((0, 0), (2, 3), (4, 1)):
        slopes = []
        for first_order in (False, True):
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    weight[place] += sign * 1e-5
                ends.append(value(first_order))
                with torch.no_grad():
                    weight[place] -= sign * 1e-5
            slopes.append((ends[0] - ends[1]) / 2e-5)
        assert float(weight.grad[place]) == pytest.approx(slopes[0], abs=1e-8)
        assert abs(slopes[0] - slopes[1]) > 1e-5  # the twin that does not look ahead


def test_buffers_of_the_model_stay_in_a_lookahead():
    own = learner(lookahead=0.1, augmenter_loss=other)
    own(x=X)
    mean = own.model[1].running_mean.clone()
    own(x=X)  # the augmenter's turn
    assert torch.equal(own.model[1].running_mean, mean)


def run_at(path, config):
    path.mkdir()
    write_json(path / "config.json", config)
    return RunFolder(path)


@pytest.mark.parametrize("settings", [{}, {"lookahead": 0.1, "every": 3}])
def test_resume_is_exact(tmp_path, settings):
    config = FitConfig(steps=9, batch_size=8, accelerator="cpu", log_every=1, checkpoint_every=4)
    whole, parts = run_at(tmp_path / "whole", config), run_at(tmp_path / "parts", config)
    rows = RowStream({"x": X})
    fit(learner(**settings), rows, config, run=whole, progress=False)

    class Stops:
        def stream(self, batch_size, *, start=0, rank=0, world=1):
            for number, batch in enumerate(rows.stream(batch_size, start=start)):
                if start + number == 6:
                    raise RuntimeError("the power fails")
                yield batch

    with pytest.raises(RuntimeError, match="power"):
        fit(learner(**settings), Stops(), config, run=parts, progress=False)
    torch.manual_seed(5)
    fit(learner(**settings), rows, config, run=parts, progress=False)
    assert parts.weights.read_bytes() == whole.weights.read_bytes()


def test_refusals():
    for settings in ({"every": 1}, {"lookahead": 0.0}, {"lookahead": -1.0}):
        with pytest.raises(EquivariantError):
            learner(**settings)
