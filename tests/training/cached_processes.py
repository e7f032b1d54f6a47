"""One cached step in one of several processes, for the tests of ``cached_step``."""

from __future__ import annotations

import json
import sys
import weakref
from pathlib import Path

import torch
import torch.distributed as dist

from equivariant.losses import collect
from equivariant.training import cached_step, leave


def make_encoder():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 6), torch.nn.Tanh(), torch.nn.Linear(6, 4)
    ).double()


def make_views():
    return torch.randn(2, 12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def loss(u, v):
    u, v = (torch.nn.functional.normalize(collect(x), dim=1) for x in (u, v))
    return torch.nn.functional.cross_entropy(u @ v.T / 0.2, torch.arange(len(u)))


def gradients(encoder):
    return [p.grad.flatten().tolist() for p in encoder.parameters()]


def step_of_this_process(folder):
    rank, world = dist.get_rank(), dist.get_world_size()
    encoder = torch.nn.parallel.DistributedDataParallel(make_encoder())
    entered, no_sync = [], encoder.no_sync
    encoder.no_sync = lambda: (entered.append(1), no_sync())[1]
    share = slice(rank * 12 // world, (rank + 1) * 12 // world)
    a, b = make_views()
    step = cached_step(encoder, (a[share], b[share]), loss, chunk=2)
    found = {"total": float(step.total), "grad": gradients(encoder), "no_sync": len(entered)}
    (folder / f"{rank}.json").write_text(json.dumps(found))


def main() -> None:
    dist.init_process_group("gloo")
    group = weakref.ref(dist.group.WORLD)
    step_of_this_process(Path(sys.argv[1]))
    leave()
    if group() is not None:
        sys.exit("a model still holds the process group, whose threads may outlive Python")


if __name__ == "__main__":
    main()
