"""Terms by loops and closed forms; SIE against an independent transcription; several processes."""

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from equivariant.actions import Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO3, Spin3
from equivariant.losses import (
    PRESETS,
    Objective,
    covariance,
    mean_squared_difference,
    preset,
    variance,
)
from equivariant.losses.presets.equivariant import align
from equivariant.nn import Hypernetwork


def draw(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_terms_by_loops():
    u, v = draw(7, 4), draw(7, 4, 1)
    total = sum(float((u[i, j] - v[i, j]) ** 2) for i in range(7) for j in range(4)) / 28
    assert float(mean_squared_difference(u, v)) == pytest.approx(total, rel=1e-12)
    hinge = spread = 0.0
    mean = [sum(float(u[i, j]) for i in range(7)) / 7 for j in range(4)]
    for j in range(4):
        var = sum((float(u[i, j]) - mean[j]) ** 2 for i in range(7)) / 6
        hinge += max(0.0, 1 - (var + 1e-4) ** 0.5) / 4
        for k in range(4):
            if j != k:
                c = sum((float(u[i, j]) - mean[j]) * (float(u[i, k]) - mean[k]) for i in range(7))
                spread += (c / 6) ** 2 / 4
    assert float(variance(u)) == pytest.approx(hinge, rel=1e-12)
    assert float(covariance(u)) == pytest.approx(spread, rel=1e-12)
    wide = draw(3, 8)
    expected = torch.cov(wide.T).square().fill_diagonal_(0).sum() / 8
    torch.testing.assert_close(covariance(wide), expected)


def test_terms_in_closed_form():
    white = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).double()
    assert float(variance(2 * white)) == 0.0
    assert float(covariance(white)) == 0.0
    assert float(variance(torch.ones(5, 3).double())) == pytest.approx(0.99)
    with pytest.raises(ShapeError, match="two rows"):
        variance(torch.ones(1, 3))
    for term in (variance, covariance):
        u = (0.1 * draw(6, 3)).requires_grad_()
        assert torch.autograd.gradcheck(term, (u,))


def sie_transcribed(z_a, z_b, weights, q):
    """SIE's loss written out from the method's definition, matrices materialized."""
    half = z_a.shape[1] // 2
    w = torch.einsum("bk,kij->bij", q, weights)
    predicted = torch.stack([w[i] @ z_a[i, half:] for i in range(len(z_a))])

    def hinge(u):
        return torch.relu(1 - torch.sqrt(u.var(dim=0, unbiased=True) + 1e-4)).mean()

    def off_diagonal(u):
        c = torch.cov(u.T)
        return (c.square().sum() - c.diagonal().square().sum()) / u.shape[1]

    invariance = ((z_a[:, :half] - z_b[:, :half]) ** 2).mean()
    equivariance = ((predicted - z_b[:, half:]) ** 2).mean()
    return (
        10 * invariance
        + 10 * 0.45 * equivariance
        + 10 * (hinge(z_a) / 2 + hinge(z_b) / 2)
        + 10 * hinge(predicted) / 2
        + off_diagonal(z_a)
        + off_diagonal(z_b)
    )


def test_sie_value_and_gradients():
    z_a, z_b = draw(9, 12).requires_grad_(), draw(9, 12, 1).requires_grad_()
    learned = Hypernetwork(Spin3(), 6).double()
    g = Spin3().sample(9, generator=torch.Generator().manual_seed(0))
    objective = Objective(preset("sie").plan, Trivial(6) + learned)
    ours = objective(z_a, z_b, g).total
    theirs = sie_transcribed(z_a, z_b, learned.weight, Spin3.quaternion_xyzw(g))
    torch.testing.assert_close(ours, theirs)
    inputs = (z_a, z_b, learned.weight)
    for mine, other in zip(
        torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True
    ):
        torch.testing.assert_close(mine, other)


def test_the_target_of_the_equivariance_term_has_a_gradient():
    z_a, z_b = draw(4, 6).requires_grad_(), draw(4, 6, 1).requires_grad_()
    objective = Objective([align(part=1)], Trivial(3) + Vectors(SO3()))
    g = SO3().sample(4, generator=torch.Generator().manual_seed(0))
    objective(z_a, z_b, g).total.backward()
    for z in (z_a, z_b):
        assert z.grad[:, 3:].abs().sum() > 0
        assert z.grad[:, :3].abs().sum() == 0


def test_an_exact_action_and_true_elements_align_perfectly():
    g = SO3().sample(6, generator=torch.Generator().manual_seed(0))
    action = Trivial(2) + Vectors(SO3(), 2)
    z_a = draw(6, 8)
    z_b = action(g, z_a)
    objective = Objective([align(part=1)], action)
    assert float(objective(z_a, z_b, g).total) < 1e-28
    assert float(objective(z_a, z_b, g.roll(1, 0)).total) > 0.1


@pytest.mark.parametrize("name", [n for n, p in PRESETS.items() if "moved" in p.sides])
def test_presets_run_and_are_sums_of_their_terms(name):
    settings = preset(name)
    action = Trivial(4) + Vectors(SO3(), 2) if settings.parts else Trivial(10)
    objective = Objective(settings.plan, action)
    g = SO3().sample(8, generator=torch.Generator().manual_seed(0))
    value = objective(draw(8, 10), draw(8, 10, 1), g)
    expected = sum(term.weight * value.terms[term.key] for term in settings.terms)
    torch.testing.assert_close(value.total, expected)
    assert settings.source


def test_refusals():
    with pytest.raises(ConventionError, match="parts below 0"):
        Objective([align(part=0)], Trivial(4))
    with pytest.raises(ConventionError, match="different names"):
        Objective([align(), align(2.0)], Trivial(4))
    with pytest.raises(ConventionError, match="no term"):
        Objective([], Trivial(4))
    with pytest.raises(ConventionError, match="vicreg"):
        preset("no such thing")


def _worker(rank, world, port, name, results):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world)
    torch.set_num_threads(1)
    cut = slice(0, 5) if rank == 0 else slice(5, 12)
    results[rank] = _gradients(name, cut, world)
    dist.destroy_process_group()


def _gradients(name, rows, world):
    """Gradients of encoder and action, averaged over processes as data-parallel training does."""
    torch.manual_seed(0)
    split = bool(preset(name).parts)
    action = Trivial(4) + Hypernetwork(Spin3(), 6) if split else Trivial(10)
    encoder, objective = (
        torch.nn.Linear(3, 10).double(),
        Objective(preset(name).plan, action).double(),
    )
    g = Spin3().sample(12, generator=torch.Generator().manual_seed(0))
    x_a, x_b = draw(12, 3), draw(12, 3, 1)
    objective(encoder(x_a[rows]), encoder(x_b[rows]), g[rows]).total.backward()
    gradients = [p.grad for m in (encoder, objective) for p in m.parameters()]
    if world > 1:
        for gradient in gradients:
            dist.all_reduce(gradient)
            gradient /= world
    return [gradient.numpy() for gradient in gradients]


@pytest.mark.parametrize("name", ["sie", pytest.param("exact", marks=pytest.mark.exhaustive)])
def test_two_processes_with_unequal_shares_have_the_gradient_of_one(name, free_port):
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(_worker, args=(2, free_port, name, results), nprocs=2)
        shared = [results[0], results[1]]
    alone = _gradients(name, slice(None), 1)
    for one, a, b in zip(alone, *shared, strict=True):
        torch.testing.assert_close(torch.from_numpy(a), torch.from_numpy(one))
        torch.testing.assert_close(torch.from_numpy(b), torch.from_numpy(one))
