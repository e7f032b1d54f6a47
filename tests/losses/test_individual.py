"""Temperatures of single anchors: iSogCLR and TempNet against finite differences and loops."""

import math

import pytest
import torch

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import PRESETS, Loss, PerPair, preset
from equivariant.losses.presets.temperature import AdaptiveHeads
from equivariant.losses.temperatures.robust import IndividualTemperature, TemperatureNetwork

N = 5


def draw(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaps(a, b):
    """h_ij of every anchor's negatives, as plain numbers; shape (2N, 2N - 2)."""
    z = [v / v.norm() for v in [*a, *b]]
    rows = []
    for i in range(2 * N):
        p = (i + N) % (2 * N)
        negatives = [j for j in range(2 * N) if j not in (i, p)]
        rows.append([float(z[i] @ z[j]) - float(z[i] @ z[p]) for j in negatives])
    return rows


def robust(h, tau, rho):
    return tau * math.log(sum(math.exp(x / tau) for x in h) / len(h)) + tau * rho


def make(**settings):
    return IndividualTemperature(N, **{"start": 0.25, "rho": 2.0, "clip": 1e9, **settings}).double()


SAMPLE = torch.arange(N)


def test_the_whole_batch_has_the_gradient_of_the_robust_objective_in_embeddings():
    a, b = draw(N, 4).requires_grad_(), draw(N, 4, 1).requires_grad_()
    module = make(gamma=1.0).eval()

    def value(a, b):
        return sum(robust(h, 0.25, 2.0) for h in gaps(a, b)) / (2 * N)

    (mine,) = torch.autograd.grad(module(a, b, SAMPLE).mean(), a)
    for i, d in ((0, 0), (2, 3), (4, 1)):
        step = torch.zeros_like(a)
        step[i, d] = 1e-5
        with torch.no_grad():
            slope = (value(a + step, b) - value(a - step, b)) / 2e-5
        assert mine[i, d].item() == pytest.approx(float(slope), abs=1e-8)


def test_temperatures_descend_the_derivative_of_the_robust_objective():
    a, b = draw(N, 4), draw(N, 4, 1)
    module = make(gamma=1.0, average=0.0, rate=1e-2)
    module(a, b, SAMPLE)
    for h, tau in zip(gaps(a, b), module.tau.flatten().tolist(), strict=True):
        slope = (robust(h, 0.25 + 1e-5, 2.0) - robust(h, 0.25 - 1e-5, 2.0)) / 2e-5
        assert tau == pytest.approx(0.25 - 1e-2 * slope, abs=1e-9)


def test_the_running_estimator_by_loops_over_two_batches():
    module = make(gamma=0.6, average=0.3, rate=5e-3, clip=0.8)
    tau, u, averaged = [0.25] * 2 * N, [None] * 2 * N, [0.0] * 2 * N
    for seed in (0, 7):
        a, b = draw(N, 4, seed).requires_grad_(), draw(N, 4, seed + 1).requires_grad_()
        loss = module(a, b, SAMPLE).mean()
        (mine,) = torch.autograd.grad(loss, a)
        units = [v / v.norm() for v in [*a, *b]]
        surrogate = 0.0
        for i, h in enumerate(gaps(a.detach(), b.detach())):
            p = (i + N) % (2 * N)
            now = sum(math.exp(x / tau[i]) for x in h) / len(h)
            u[i] = now if u[i] is None else 0.4 * u[i] + 0.6 * now
            weights = [math.exp(x / tau[i]) / u[i] / len(h) for x in h]
            negatives = [j for j in range(2 * N) if j not in (i, p)]
            for w, j in zip(weights, negatives, strict=True):
                surrogate = surrogate + w * (units[i] @ units[j]) / (2 * N)
            surrogate = surrogate - units[i] @ units[p] / (2 * N)
            slope = math.log(u[i]) + 2.0
            slope -= sum(w * x for w, x in zip(weights, h, strict=True)) / tau[i]
            averaged[i] = 0.3 * averaged[i] + 0.7 * min(max(slope, -0.8), 0.8)
            tau[i] = min(max(tau[i] - 5e-3 * averaged[i], 0.05), 1.0)
        (theirs,) = torch.autograd.grad(surrogate, a)
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
    torch.testing.assert_close(module.tau.flatten(), torch.tensor(tau).double())
    torch.testing.assert_close(module.log_u.flatten().exp(), torch.tensor(u).double())
    torch.testing.assert_close(module.slope.flatten(), torch.tensor(averaged).double())


def test_state_goes_round_and_evaluation_changes_none():
    a, b = draw(N, 4), draw(N, 4, 1)
    module, other = make(), make()
    module(a, b, SAMPLE)
    other.load_state_dict(module.state_dict())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.eval()
    first = module(b, a, SAMPLE)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    torch.testing.assert_close(other(b, a, SAMPLE), first, rtol=0, atol=0)
    module.train()
    module(b, a, SAMPLE)
    for name, value in module.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_samples_that_are_not_drawn_keep_their_state():
    module = IndividualTemperature(9)
    module(draw(3, 4), draw(3, 4, 1), torch.tensor([7, 0, 4]))
    untouched = torch.tensor([1, 2, 3, 5, 6, 8])
    assert (module.tau[:, untouched] == torch.tensor(0.1)).all()
    assert torch.isinf(module.log_u[:, untouched]).all()
    assert torch.isfinite(module.log_u[:, [7, 0, 4]]).all()


def test_no_robustness_drives_temperatures_up_and_more_of_it_down():
    a, b = draw(N, 4), draw(N, 4, 1)
    found = []
    for rho in (0.0, 0.3, 1.0, 6.0):
        module = make(rho=rho, gamma=1.0, rate=5e-2, clip=3.0)
        for _ in range(150):
            module(a, b, SAMPLE)
        found.append(module.tau.mean().item())
    assert found[0] == pytest.approx(1.0)
    assert found[0] > found[1] > found[2] > found[3]
    assert found[3] == pytest.approx(0.05)


def test_the_temperature_network_descends_the_same_objective():
    a, b = draw(N, 4), draw(N, 4, 1)
    torch.manual_seed(0)
    network = TemperatureNetwork(4, prototypes=6, low=0.1, high=0.9, rho=1.0).double()
    values = network(a, b)
    tau = network.temperature(torch.cat([a, b]))
    for h, t, mine in zip(gaps(a, b), tau.tolist(), values.tolist(), strict=True):
        assert mine == pytest.approx(robust(h, t, 1.0), abs=1e-12)
    before = values.mean().item()
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        network(a, b).mean().backward()
        optimizer.step()
    best = sum(min(robust(h, t / 100, 1.0) for t in range(10, 90)) for h in gaps(a, b)) / (2 * N)
    assert best <= network(a, b).mean().item() < before
    assert network.temperature(draw(20, 4, 5)).min() >= 0.1
    assert network.temperature(draw(20, 4, 5)).max() <= 0.9


def test_the_network_of_temperatures_passes_no_gradient_to_embeddings():
    z = draw(N, 4).requires_grad_()
    network = TemperatureNetwork(4, prototypes=6).double()
    network.temperature(z.detach()).sum().backward()
    full = torch.autograd.grad(network(z, draw(N, 4, 1)).mean(), z)[0]
    frozen = network.temperature(torch.cat([z, draw(N, 4, 1)]).detach()).detach()
    network.temperature = lambda _: frozen
    alone = torch.autograd.grad(network(z, draw(N, 4, 1)).mean(), z)[0]
    torch.testing.assert_close(full, alone, rtol=0, atol=1e-14)


def test_one_object_has_no_negatives():
    network = TemperatureNetwork(4, prototypes=6).double()
    with pytest.raises(ShapeError, match="two rows"):
        network(draw(1, 4), draw(1, 4, 1))
    with pytest.raises(ConventionError, match="two samples"):
        make()(draw(1, 4), draw(1, 4, 1), SAMPLE[:1])
    with pytest.raises(ConventionError, match="no one twice"):
        make()(draw(2, 4), draw(2, 4, 1), torch.tensor([3, 3]))


def constant(low, high, beta, negatives=100):
    torch.manual_seed(0)
    settings = {"dim": 3, "heads": 2, "hidden": 5, "low": low, "high": high, "beta": beta}
    loss = Loss(preset("amcl", negatives=negatives, **settings).plan).double()
    for parameter in loss.parameters():
        torch.nn.init.zeros_(parameter)
    return loss


def test_constant_pair_temperatures_without_regularizer_are_the_mean_gap():
    a, b = draw(N, 6), draw(N, 6, 1)
    value = constant(0.2, 0.8, 0.0)(a=a, b=b).total  # sigmoid(0) = 1/2, so τ = 0.5
    expected = 0.0
    for head in (slice(0, 3), slice(3, 6)):
        s = torch.nn.functional.cosine_similarity(a[:, None, head], b[None, :, head], dim=-1)
        off = (s.sum() - s.trace()) / (N * (N - 1))
        expected += (off - s.trace() / N) / 0.5
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)


class Given(PerPair):
    """τ = 1 on pairs that match and the lower bound on all others."""

    def __init__(self, low):
        super().__init__(torch.nn.Identity(), low=low)

    def forward(self, q, k):
        return self.low + (1.0 - self.low) * torch.eye(len(q), dtype=q.z.dtype)


def test_only_the_clamp_bounds_the_push_of_pair_temperatures():
    z, values = torch.eye(4).double(), []
    for low in (0.05, 1e-2, 1e-3, 1e-5):
        value = AdaptiveHeads(Given(low), heads=1, negatives=2, beta=0.2)(z, z).item()
        assert value == pytest.approx(-1.0 + 0.2 - 0.2 * (math.log(low) + 1 / low))
        values.append(value)
    assert values[0] > -5.0
    assert values[-1] < -1e4
    assert PRESETS["amcl"].settings["low"] == 0.05
