"""The dense path under torch.compile, where no shape annotations are enforced."""

import subprocess
import sys

import pytest

SCRIPT = """
import torch
from equivariant.losses import Learned, NegativeSquaredDistance, Pairs, Side, contrast

def draw(seed):
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z.requires_grad_()

tau, label = Learned(0.3).double(), torch.tensor([0, 1, 0, 1, 2, 2])

def nt_xent(a, b):
    side = Side.views(a, b)
    pairs = Pairs.same("id").not_self()
    return contrast(side, side, pairs, tau=tau, keep=0.5, method="dense").mean()

def supervised(a, b):
    q, k = Side.of(a, label=label), Side.of(b, label=label)
    settings = {"similarity": NegativeSquaredDistance(), "pull": "lse", "link": "softplus"}
    return contrast(q, k, Pairs.same("label"), tau=tau, method="dense", **settings).mean()

for function in (nt_xent, supervised):
    results = []
    for f in (function, torch.compile(function, backend="aot_eager", fullgraph=True)):
        a, b = draw(0), draw(1)
        loss = f(a, b)
        results.append((loss, *torch.autograd.grad(loss, (a, b, tau.log_tau))))
    for eager, traced in zip(*results):
        torch.testing.assert_close(traced, eager, rtol=0, atol=1e-12)
print("equal")
"""


def test_the_compiled_dense_path_is_one_graph_and_equals_the_eager_one():
    """In a process of its own: the annotations that tests enforce cannot be compiled."""
    pytest.importorskip("torch._dynamo")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "equal" in done.stdout


PRESETS_SCRIPT = """
import torch
from equivariant.losses import preset

a, b = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
for name in ("nt_xent", "clip", "siglip", "supcon_out"):
    loss, known = preset(name).build().double(), {}
    if name == "supcon_out":
        known["label"] = torch.tensor([0, 1, 0, 1, 2, 2])
    results = []
    for f in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True)):
        u = a.clone().requires_grad_()
        value = f(u, b, **known).total
        results.append((value, *torch.autograd.grad(value, u)))
    for eager, traced in zip(*results):
        torch.testing.assert_close(traced, eager, rtol=0, atol=1e-12)
print("equal")
"""


@pytest.mark.exhaustive
def test_presets_are_compiled_into_one_graph():
    pytest.importorskip("torch._dynamo")
    command = [sys.executable, "-W", "ignore", "-c", PRESETS_SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "equal" in done.stdout
