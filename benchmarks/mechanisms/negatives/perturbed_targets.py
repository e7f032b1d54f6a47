"""Negatives and positives that a decoder's gradients make of embeddings.

Hypothesis: sources and targets are two views of one object, and a classifier reads the variety of
its kind from either; few examples of each variety are known. Other objects of a batch are mostly of
other kinds and easily told apart. A target that is moved a little, to where the classifier
confuses its variety, is a negative that is near but wrong, one that is moved far without a change
of the answer a positive that is far but right; contrasting sources with both separates varieties
better. If the gradients come from a classifier that was never trained, they point nowhere, and
must not help.

Embeddings have length √32, about 5.7, so that the published steps of 1 and 3 move them by about 10
and 30 degrees. At weight 1 beside cross-entropy both contrasts took from the classifier what it
learns, on two seeds that are not reported: hence 0.2.

The paper perturbs hidden states of a text decoder; a classifier of objects in its place is ours.

The gain was -0.050 ± 0.012. The baseline had room (0.389, 0.653 for kinds) and the decoder learned;
gradients of an untrained one cost 0.028 ± 0.014, so more than half of the loss may be the moving
of targets itself. Whether the test was fair to a decoder of sequences it does not say.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, train
from benchmarks.mechanisms.varieties import KINDS, VARIETIES, families, scores
from equivariant.losses import Side, preset

BATCH, TAU, DIM, WIDTH, WEIGHT = 48, 0.1, 32, 16, 0.2
NEAR, FAR = 1.0, 3.0


def experiment() -> Experiment:
    return Experiment(
        name="perturbed_targets",
        title="CLAPS (targets perturbed by a decoder's gradients) against InfoNCE",
        planted="the decoder whose gradients move targets learns the varieties",
        control="gradients of a decoder that is never trained",
        metric="accuracy",
        higher=True,
        steps=200,
        measure=measure,
        shared_baseline=True,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    known, asked = families(run.seed, "planted")
    encoder, decoder, untrained = fresh(
        run,
        lambda: CloudEncoder(DIM, WIDTH),
        lambda: nn.Linear(DIM, KINDS * VARIETIES),
        lambda: nn.Linear(DIM, KINDS * VARIETIES),
    )
    draws = run.generator()
    moving = decoder if condition == "planted" else untrained

    def task(h: Tensor, side: Side) -> Tensor:
        return nn.functional.cross_entropy(moving(h), side.get("label"), reduction="none")

    def divergence(h: Tensor, side: Side) -> Tensor:
        said, now = (moving(x).log_softmax(1) for x in (side.z.detach(), h))
        return (said.exp() * (said - now)).sum(1)

    claps = preset(
        "claps",
        task_loss=task,
        divergence=divergence,
        tau=TAU,
        radius_negative=NEAR,
        radius_positive=FAR,
    )
    compared = (preset("infonce", tau=TAU) if arm == "baseline" else claps).build()

    def embed(surface: Tensor) -> Tensor:
        z: Tensor = encoder(view(surface, draws))
        return nn.functional.layer_norm(z, (DIM,))

    def loss() -> Tensor:
        rows = batch(len(known), BATCH, draws)
        a, b = embed(known.surface[rows]), embed(known.surface[rows])
        label = known.label[rows]
        told = nn.functional.cross_entropy(decoder(torch.cat([a, b])), label.repeat(2))
        value = compared(a=a, b=Side.of(b, label=label)).total
        return told + WEIGHT * value

    train([encoder, decoder], loss, run)
    with torch.no_grad():
        found = decoder(embed(asked.surface)).argmax(1)
    return scores(found, asked.label)
