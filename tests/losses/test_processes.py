"""Two processes with unequal batches have the values and gradients of one with all rows."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from equivariant.losses import (
    Boltzmann,
    Hardest,
    Learned,
    Pairs,
    PairSigmoid,
    Side,
    contrast,
    preset,
)

N = 12
LABEL = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 0, 3, 4, 3])
SHARES = (slice(0, 5), slice(5, N))
FORMS = {
    "infonce": {},
    "decoupled": {"keep": 0.0},
    "each": {"keep": 0.0, "pull": "each", "link": "softplus"},
    "mean": {"push": "mean", "pull": "lse"},
    "boltzmann": {"push": Boltzmann(0.8), "pull": Boltzmann(-0.5)},
    "hardest": {"hardest": Hardest(count=3)},
    "sigmoid": {"link": PairSigmoid(-0.2), "pull": "sum", "push": "sum"},
}
PRESETS = {
    "moco": {}, "dclw": {"least": 0.0}, "genview": {}, "look": {"neighbors": 6}, "meow": {},
    "clip": {}, "siglip": {}, "cwcl": {}, "supcon_out": {}, "csgcl": {}, "cacr": {}, "sepclr": {},
    "contrastive_gap": {}, "symile_all": {}, "tempnet": {"dim": 4}, "isogclr": {"samples": N},
    "hydra": {"classes": 5, "dim": 4}, "adameow": {"dim": 4}, "simctg": {"margin": 1.2},
    "amcl": {"dim": 2, "heads": 2, "negatives": 3}, "supcon_in": {}, "supcon_each": {},
    "groco": {"count": 5}, "hard_contrastive": {"share": 0.3}, "simple_contrastive": {},
    "align_uniform": {},
}  # fmt: skip
CASES = [(f"{f}-{m}", None) for f in FORMS for m in ("dense", "tiled")] + list(PRESETS.items())


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_contrast(case, encoder, rows):
    form, method = case.split("-")
    tau = Learned(0.4).double()
    z = encoder(draw(N, 3)[rows])
    side = Side.of(z, label=LABEL[rows], group=torch.arange(N)[rows])
    pairs = Pairs.same("label").without_same("group")  # of all processes: numbers, not positions
    result = contrast(side, side, pairs, tau=tau, method=method, gather=True, **FORMS[form])
    return result.mean(), list(tau.parameters())


def of_preset(name, settings, encoder, rows):
    torch.manual_seed(0)
    loss = preset(name, **settings).build().double()
    known = {
        "label": LABEL, "sample": torch.arange(N), "target": LABEL % 2,
        "cluster": LABEL % 3, "clusters": torch.stack([LABEL % 3, LABEL % 4], 1),
        "strength": draw(N, seed=5), "sequence": LABEL,
    }  # fmt: skip
    sides = {}
    for place, side in enumerate("abc"):
        x = draw(N, 3, seed=place)[rows]
        floats = {
            n: draw(N, 2, seed=7 + place + i)[rows]
            for i, n in enumerate(("features", "foreground", "background", "salient"))
        }
        sides[side] = Side.of(encoder(x), **{n: v[rows] for n, v in known.items()}, **floats)
    shared = Side.of(draw(6, 4, seed=9), label=LABEL[:6], cluster=torch.arange(6) % 3)
    wanted = preset(name, **settings).sides
    if "bank" in wanted:
        sides["bank"] = shared
    if "negatives" in wanted:
        sides["negatives"] = shared  # the same on both processes: they count once
    if "centroids" in wanted:
        sides["centroids"] = shared[:3].replace(density=torch.tensor([0.3, 0.5, 0.4]).double())
    total = loss(**{n: s for n, s in sides.items() if n in wanted}).total
    return total, list(loss.parameters())


def gradients(case, settings, rows, world):
    """Value, and gradients averaged over processes as data-parallel training does."""
    torch.manual_seed(0)
    encoder = torch.nn.Linear(3, 4).double()
    if settings is None:
        value, numbers = of_contrast(case, encoder, rows)
    else:
        value, numbers = of_preset(case, settings, encoder, rows)
    value.backward()
    found = [p.grad for p in (*encoder.parameters(), *numbers) if p.grad is not None]
    if world > 1:
        for gradient in found:
            dist.all_reduce(gradient)
            gradient /= world
    return [value.detach().numpy(), *(gradient.numpy() for gradient in found)]


def work(rank, world, port, results):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world)
    torch.set_num_threads(1)
    results[rank] = [gradients(*case, SHARES[rank], world) for case in CASES]
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def shared():
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(work, args=(2, free(), results), nprocs=2)
        return results[0], results[1]


def free():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("place", range(len(CASES)), ids=[name for name, _ in CASES])
def test_two_processes_are_one(shared, place):
    alone = gradients(*CASES[place], slice(None), 1)
    for rank in (0, 1):
        theirs = shared[rank][place]
        assert len(theirs) == len(alone)
        for mine, other in zip(theirs, alone, strict=True):
            torch.testing.assert_close(
                torch.from_numpy(mine), torch.from_numpy(other), rtol=1e-9, atol=1e-9
            )
