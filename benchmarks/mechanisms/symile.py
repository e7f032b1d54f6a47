"""Three modalities of which no two say anything of one another."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import SIDE, Shapes, shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, fresh, perceptron, train
from equivariant.losses import Dot, Learned, Pairs, Side, contrast, preset

KINDS, DIM, BATCH = 3, 16, 48
NOISE = 0.3  # of the code
QUESTIONS = 600


def experiment() -> Experiment:
    return Experiment(
        name="symile",
        title="Symile against the sum of three CLIPs",
        planted="cloud of kind a, depth map of kind b, code of (a + b) mod 3: no pair suffices",
        control="a = b = code: every pair suffices",
        metric="retrieval_accuracy",
        higher=True,
        steps=300,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed, KINDS)
    encoders = fresh(
        run,
        lambda: CloudEncoder(DIM),
        lambda: perceptron(SIDE * SIDE, 64, DIM),
        lambda: perceptron(KINDS, 64, DIM),
    )
    pairwise = [preset("clip", tau=0.1).build() for _ in range(3)]
    tau = Learned(0.1, low=1e-4)
    draws = run.generator()

    def embed(side: Shapes, kinds: tuple[Tensor, ...]) -> list[Tensor]:
        inputs = triple(side, kinds, draws)
        return [normalize(f(x), dim=1) for f, x in zip(encoders, inputs, strict=True)]

    def loss() -> Tensor:
        zs = embed(objects, draw_kinds(condition, BATCH, draws))
        if arm == "mechanism":
            return torch.stack([products(*zs[i:], *zs[:i], tau) for i in range(3)]).mean()
        return torch.stack([pairwise[i](a=zs[i - 1], b=zs[i]).total for i in range(3)]).mean()

    temperatures = pairwise if arm == "baseline" else [tau]
    train([*encoders, *temperatures], loss, run)
    with torch.no_grad():
        kinds = draw_kinds(condition, QUESTIONS, draws)
        _, maps, codes = embed(held_out, kinds)
        every = torch.arange(KINDS).repeat(QUESTIONS)
        candidates = normalize(encoders[0](triple(held_out, (every,) * 3, draws)[0]), dim=1)
        candidates = candidates.reshape(QUESTIONS, KINDS, DIM)
        asked = maps + codes if arm == "baseline" else maps * codes
        found = (candidates @ asked.unsqueeze(2)).squeeze(2).argmax(1)
    return {"retrieval_accuracy": float((found == kinds[0]).float().mean())}


def draw_kinds(condition: Condition, count: int, draws: torch.Generator) -> tuple[Tensor, ...]:
    a, b = torch.randint(KINDS, (2, count), generator=draws)
    return (a, b, (a + b) % KINDS) if condition == "planted" else (a, a, a)


def triple(side: Shapes, kinds: tuple[Tensor, ...], draws: torch.Generator) -> list[Tensor]:
    """A cloud of the first kind, a depth map of the second, a noisy code of the third."""
    a, b, c = kinds
    cloud = view(side.surface[one_of_each(side, a, draws)], draws)
    code = one_hot(c, KINDS) + NOISE * torch.randn(len(c), KINDS, generator=draws)
    return [cloud, side.depth[one_of_each(side, b, draws)], code]


def one_of_each(side: Shapes, kind: Tensor, draws: torch.Generator) -> Tensor:
    """A random object of each given kind: row numbers."""
    fits = (side.label[None] == kind[:, None]).float()
    return torch.multinomial(fits, 1, generator=draws).squeeze(1)


def products(a: Tensor, b: Tensor, c: Tensor, tau: Learned) -> Tensor:
    """Anchors a among the products of every b with every c: ``symile_all``, all pairs at once."""
    n = len(a)
    ids = n + torch.arange(n * n)
    ids[:: n + 1] = torch.arange(n)  # the true triples
    candidates = Side.of((b[:, None] * c[None, :]).reshape(n * n, -1), id=ids)
    anchors = Side.of(a, id=torch.arange(n))
    return contrast(anchors, candidates, Pairs.same("id"), tau=tau, similarity=Dot()).mean()
