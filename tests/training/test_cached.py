"""Steps by chunks against the same chunks with graph; what is alive; what is refused."""

import copy
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from cached_processes import gradients, loss, make_encoder, make_views
from lightning_fabric import Fabric
from torch import nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.training import cached_step
from equivariant.training.learners import cached

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


class Contrastive(nn.Module):
    """InfoNCE by hand, with a learned temperature and noise of its own."""

    def __init__(self):
        super().__init__()
        self.log_tau = nn.Parameter(torch.tensor(-1.0, dtype=torch.float64))

    def forward(self, u, v):
        u, v = (nn.functional.normalize(x.double(), dim=1) for x in (u, v))
        u = u + 0.01 * torch.randn_like(u)
        logits = u @ v.T / self.log_tau.exp()
        target = torch.arange(len(u), device=u.device)
        return nn.functional.cross_entropy(logits, target)


def make(dropout, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(5, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 4)]
    return nn.Sequential(*layers).double()


def views(n=10, m=10):
    g = torch.Generator().manual_seed(7)
    return [torch.randn(k, 5, generator=g, dtype=torch.float64) for k in (n, m)]


def plain_step(encoder, inputs, criterion, chunk):
    """The chunks with graph, all kept alive."""
    z = [torch.cat([encoder(part) for part in x.split(chunk)]) for x in inputs]
    total = criterion(*z)
    total.backward()
    return total.detach()


def all_gradients(*modules):
    return [p.grad.clone() for m in modules for p in m.parameters()]


def largest_difference(left, right):
    return max(float((a - b).abs().max()) for a, b in zip(left, right, strict=True))


def both(chunk, device="cpu", **options):
    """Loss and gradients of the plain and of the cached step, and the random numbers after."""
    results = []
    for step in (plain_step, cached_step):
        encoder, criterion = make(0.4).to(device), Contrastive().to(device)
        x = [v.to(device) for v in views()]
        torch.manual_seed(3)
        if step is plain_step:
            total = plain_step(encoder, x, criterion, chunk)
        else:
            total = cached_step(encoder, x, criterion, chunk=chunk, **options).total
        results.append((total, all_gradients(encoder, criterion), torch.rand(4, device=device)))
    return results


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("chunk", [1, 3, 5, 100])
def test_gradients_under_dropout_are_those_of_the_same_chunks_with_graph(chunk, device):
    plain, ours = both(chunk, device)
    assert float(plain[0]) == pytest.approx(float(ours[0]), abs=1e-13)
    assert largest_difference(plain[1], ours[1]) < 1e-12
    assert float(ours[1][-1].abs()) > 1e-3  # the temperature's
    assert torch.equal(plain[2], ours[2])


@pytest.mark.parametrize("device", DEVICES)
def test_without_replay_of_random_numbers_the_step_is_wrong_and_says_so(monkeypatch, device):
    monkeypatch.setattr(cached, "_set_random_state", lambda device, state: None)
    with pytest.raises(ConventionError, match="same embeddings twice"):
        both(3, device)
    plain, ours = both(3, device, check=False)
    assert float(plain[0]) == pytest.approx(float(ours[0]), abs=1e-13)
    assert largest_difference(plain[1], ours[1]) > 1e-4


@pytest.mark.parametrize("chunk", [1, 4, 10])
def test_without_randomness_chunks_change_nothing_and_gradients_add_up(chunk):
    encoder, criterion = make(0.0), Contrastive().eval()
    twin, criterion_twin = copy.deepcopy(encoder), copy.deepcopy(criterion)
    for seed in (1, 2):
        torch.manual_seed(seed)
        plain_step(twin, views(), criterion_twin, 10)
        torch.manual_seed(seed)
        cached_step(encoder, tuple(views()), criterion, chunk=chunk)
    assert largest_difference(
        all_gradients(encoder, criterion), all_gradients(twin, criterion_twin)
    ) < 1e-12  # fmt: skip


class Split(nn.Module):
    """Trees in, trees out."""

    def __init__(self):
        super().__init__()
        self.inner = make(0.3)

    def forward(self, batch):
        z = self.inner(batch["x"] * batch["scale"][0][:, None])
        return {"invariant": z[:, :2], "equivariant": (z[:, 2:],), "row": batch["row"]}


def test_trees_several_encoders_and_a_frozen_one():
    x, y = views(7, 9)
    scale = torch.linspace(0.5, 2.0, 7, dtype=torch.float64)
    tree = {"x": x, "scale": [scale], "row": torch.arange(7), "note": "kept"}
    first, second, frozen = Split(), make(0.2, seed=1), make(0.2, seed=2).requires_grad_(False)

    def criterion(u, v, w):
        assert u["row"].tolist() == list(range(7)) and not w.requires_grad
        pulled = u["invariant"].square().sum() * v.mean() + u["equivariant"][0].sin().sum()
        return pulled + (v * w).sum(), {"pulled": pulled.detach()}

    torch.manual_seed(5)
    step = cached_step([first, second, frozen], [tree, y, y], criterion, chunk=4)
    ours = all_gradients(first, second)
    assert all(p.grad is None for p in frozen.parameters())
    assert step.terms["pulled"].ndim == 0 and step.embeddings[0]["invariant"].shape == (7, 2)
    first.zero_grad()
    second.zero_grad()
    torch.manual_seed(5)
    parts = [
        first({"x": x[s], "scale": [scale[s]], "row": torch.arange(7)[s]})
        for s in (slice(0, 4), slice(4, 7))
    ]
    u = {
        "invariant": torch.cat([p["invariant"] for p in parts]),
        "equivariant": (torch.cat([p["equivariant"][0] for p in parts]),),
        "row": torch.arange(7),
    }
    v, w = (torch.cat([f(part) for part in y.split(4)]) for f in (second, frozen))
    total, _ = criterion(u, v, w)
    total.backward()
    assert float(total.detach()) == pytest.approx(float(step.total), abs=1e-12)
    assert largest_difference(all_gradients(first, second), ours) < 1e-12


def test_one_tensor_or_dictionary_is_one_view_and_unused_embeddings_have_zero_gradient():
    encoder, scale = make(0.0), nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    x = views()[0]
    assert len(cached_step(encoder, x, lambda z: z.sum(), chunk=4).embeddings) == 1
    encoder.zero_grad()
    cached_step(encoder, x, lambda z: scale * z.detach().sum(), chunk=4)
    assert all(float(p.grad.abs().max()) == 0 for p in encoder.parameters())


class Spectrum(nn.Module):
    """Complex embeddings."""

    def __init__(self):
        super().__init__()
        self.inner = make(0.3)

    def forward(self, x):
        return torch.fft.fft(self.inner(x))


def test_complex_embeddings():
    def criterion(u, v):
        return (u * v.conj() * (1 + 2j)).sum().real + u.imag.sin().sum()

    results = []
    for step in (plain_step, cached_step):
        encoder = Spectrum()
        torch.manual_seed(0)
        if step is plain_step:
            plain_step(encoder, views(), criterion, 3)
        else:
            cached_step(encoder, views(), criterion, chunk=3)
        results.append(all_gradients(encoder))
    assert largest_difference(*results) < 1e-12
    assert max(float(g.abs().max()) for g in results[0]) > 0.1


class Alive:
    """Counts tensors that backward still needs."""

    def __init__(self):
        self.now = self.peak = 0

    def pack(self, tensor):
        box = [tensor]
        holder = type("Saved", (), {})()
        holder.box = box
        self.now += 1
        self.peak = max(self.peak, self.now)
        weakref.finalize(holder, self._gone)
        return holder

    def _gone(self):
        self.now -= 1


def peak(step, chunks):
    encoder, alive = make(0.3), Alive()
    x = views(4 * chunks, 4 * chunks)
    with torch.autograd.graph.saved_tensors_hooks(alive.pack, lambda holder: holder.box[0]):
        step(encoder, x)
    return alive.peak


def test_activations_of_one_chunk_are_alive_however_many_there_are():
    def criterion(u, v):
        return (u * v).sum()

    def ours(encoder, x):
        cached_step(encoder, x, criterion, chunk=4)

    def plain(encoder, x):
        plain_step(encoder, x, criterion, 4)

    assert peak(ours, 2) == peak(ours, 12)
    assert peak(plain, 12) > 5 * peak(ours, 12)


def autocast_gradients(step):
    encoder = make(0.3).float()
    x = [v.float() for v in views()]
    torch.manual_seed(2)
    with torch.autocast("cpu", torch.bfloat16):
        step(encoder, x)
    return all_gradients(encoder)


def test_autocast_is_in_both_passes_and_its_cache_hides_no_gradient():
    def criterion(u, v):
        assert u.dtype == torch.bfloat16
        return (u.float() * v.float()).sum()

    def ours(encoder, x):
        cached_step(encoder, x, criterion, chunk=3)

    plain = autocast_gradients(lambda encoder, x: plain_step(encoder, x, criterion, 3))
    found = autocast_gradients(ours)
    scale = max(float(g.abs().max()) for g in plain)
    assert largest_difference(plain, found) < 0.02 * scale


def normalized():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 4)).double()


def test_batch_normalization_in_training_is_refused_unless_asked_for():
    criterion = Contrastive()
    with pytest.raises(ConventionError, match=r"GroupNorm.*allow_batch_norm"):
        cached_step(normalized(), views(), criterion, chunk=5)
    cached_step(normalized().eval(), views(), criterion, chunk=5)
    encoder, twin = normalized(), normalized()
    torch.manual_seed(0)
    cached_step(encoder, views(), criterion, chunk=5, allow_batch_norm=True)
    torch.manual_seed(0)
    plain_step(twin, views(), criterion, 5)
    assert largest_difference(all_gradients(encoder), all_gradients(twin)) < 1e-12
    for ours, plain in zip(encoder.buffers(), twin.buffers(), strict=True):
        assert torch.equal(ours, plain)  # moved once per chunk, not twice
    tracked = nn.Sequential(nn.Unflatten(1, (1, 5)), nn.InstanceNorm1d(1, track_running_stats=True))
    with pytest.raises(ConventionError, match="batch normalization"):
        cached_step(tracked.double(), views(), criterion, chunk=5)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.calls = nn.Linear(5, 2).double(), 0

    def forward(self, x):
        self.calls += 1
        return self.linear(x) * self.calls


class Private(Counting):
    def forward(self, x):
        self.generator = getattr(self, "generator", torch.Generator().manual_seed(0))
        return self.linear(x + torch.randn(x.shape, generator=self.generator, dtype=x.dtype))


@pytest.mark.parametrize("kind", [Counting, Private])
def test_an_encoder_with_state_of_its_own_is_refused(kind):
    with pytest.raises(ConventionError, match="same embeddings twice"):
        cached_step(kind(), views(), lambda u, v: (u * v).sum(), chunk=4)


def test_refusals():
    encoder, x = make(0.0), views()
    product = lambda u, v: (u * v).sum()  # noqa: E731
    with pytest.raises(ConventionError, match="chunk"):
        cached_step(encoder, x, product, chunk=0)
    with pytest.raises(ConventionError, match="3 encoders, 2 views"):
        cached_step([encoder] * 3, x, product, chunk=4)
    with pytest.raises(ConventionError, match="inputs without gradient"):
        cached_step(encoder, [x[0].requires_grad_(), x[1]], product, chunk=4)
    x = views()
    with pytest.raises(ShapeError, match=r"inputs\[1\].*\[4, 10\]"):
        cached_step([encoder, Split()], [x[0], {"x": x[1], "scale": x[0][:4]}], product, chunk=4)
    with pytest.raises(ShapeError, match="scalar"):
        cached_step(encoder, x, lambda u, v: u, chunk=4)
    with pytest.raises(ConventionError, match="with a graph"):
        cached_step(encoder, x, lambda u, v: (u.detach() * v.detach()).sum(), chunk=4)
    pooled = nn.Sequential(encoder, nn.Flatten(0, 1))
    with pytest.raises(ShapeError, match="rows of the chunk"):
        cached_step(pooled, x, product, chunk=4)
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.strategy.precision.scaler = object()
    with pytest.raises(ConventionError, match="scaling"):
        cached_step(encoder, x, product, chunk=4, fabric=fabric)


def test_fabric_skips_synchronization_before_the_last_chunk_and_runs_backward(monkeypatch):
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    encoder = fabric.setup_module(make(0.2).float())
    skip, skipped = fabric.no_backward_sync, []
    monkeypatch.setattr(
        fabric, "no_backward_sync", lambda m: (skipped.append(m is encoder), skip(m))[1]
    )
    x = [v.float() for v in views()]
    cached_step(encoder, x, lambda u, v: (u * v).sum(), chunk=4, fabric=fabric)
    assert skipped == [True] * 5  # 3 chunks of each of two views
    assert all(float(p.grad.abs().max()) > 0 for p in encoder.parameters())


@pytest.mark.exhaustive
def test_two_processes_have_the_gradient_of_one(tmp_path, free_port):
    script = Path(__file__).with_name("cached_processes.py")
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port), "WORLD_SIZE": "2",
        "PYTHONPATH": paths, "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    running = [
        subprocess.Popen([sys.executable, str(script), str(tmp_path)],
                         env=environment | {"RANK": str(rank)})
        for rank in range(2)
    ]  # fmt: skip
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    encoder = make_encoder()
    a, b = make_views()
    total = loss(encoder(a), encoder(b))
    total.backward()
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found["total"] == pytest.approx(float(total.detach()), abs=1e-12)
        assert found["no_sync"] == 5
        for ours, plain in zip(found["grad"], gradients(encoder), strict=True):
            assert ours == pytest.approx(plain, abs=1e-12)
