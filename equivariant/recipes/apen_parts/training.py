"""Training of networks on parts of bodies, kept in a run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from equivariant.errors import ConventionError, DataFormatError
from equivariant.nn import APENSegmenter, Partition, layer_loss
from equivariant.pairs import PairBatch
from equivariant.recipes.apen_parts.body_sets import (
    PARTS,
    PiecePairs,
    body_sets,
    drawn_pairs,
    fingerprint,
    known_parts,
)
from equivariant.recipes.apen_parts.settings import (
    PartExperiment,
    PartNetwork,
    network_settings,
)
from equivariant.runs import RunFolder
from equivariant.training import Learner, fit, load_weights, read_header

HEADER_FORMAT = "equivariant parts 1"


class PartLearner(Learner):
    """Teaches parts of points, and at every layer votes for their centres.

    Args:
        model: A segmenter.
        told: Share of the steps in which it is told the parts.
        votes: Weight of the votes.
    """

    def __init__(self, model: APENSegmenter, *, told: float, votes: float) -> None:
        super().__init__(model)
        self.told, self.votes = told, votes

    @property
    def segmenter(self) -> APENSegmenter:
        """The model."""
        if not isinstance(self.model, APENSegmenter):
            raise TypeError(type(self.model).__name__)
        return self.model

    def forward(
        self, a: Tensor, b: Tensor, g: Tensor, **known: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        parts = known["parts"]
        told = Partition(parts) if float(torch.rand(())) < self.told else None
        prediction = self.model(a, told)
        loss = layer_loss(prediction, parts, a, votes=self.votes)
        right = (prediction.logits.detach().argmax(-1) == parts).to(loss.dtype).mean()
        return loss, {"right_told" if told is not None else "right": right}


def build_learner(config: PartExperiment) -> PartLearner:
    """A fresh network; the global generator is left as it was.

    Args:
        config: Network and seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = APENSegmenter(PARTS, config.network.config())
    return PartLearner(model, told=config.told, votes=config.votes)


def train(
    config: PartExperiment,
    run: RunFolder,
    *,
    fabric: Fabric | None = None,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> APENSegmenter:
    """Train a network and keep weights, metrics and settings in a run folder.

    Args:
        config: What to train on what.
        run: Where to keep it; a run that was interrupted there goes on.
        fabric: Processes that are started already.
        progress: Show a bar on stderr.
        say: Receives a line about the size of the network.

    Raises:
        DataFormatError: A motion is missing or damaged.
        ConventionError: Settings do not fit the data, or the loss is not finite.
    """
    sets = body_sets(config)
    if config.fit.batch_size > len(sets["train"]):
        raise ConventionError(
            expected=f"batches of at most {len(sets['train'])} clouds",
            got=str(config.fit.batch_size), argument="--batch-size",
            advice="Pass a smaller batch, or a smaller --every.",
        )  # fmt: skip
    learner = build_learner(config)
    if say is not None:
        weights = sum(p.numel() for p in learner.model.parameters())
        say(f"{config.run_name}: {weights} weights, {len(sets['train'])} clouds")
    held_out = drawn_pairs(sets["val"], config.probed, seed=config.seed)
    fit(
        learner, PiecePairs(sets["train"], seed=config.seed), config.fit, run=run, fabric=fabric,
        progress=progress, seed=config.seed,
        header={
            "format": HEADER_FORMAT, "network": asdict(config.network), "seed": config.seed,
            "data": fingerprint(sets["train"]),
        },
        identity={"told": config.told, "votes": config.votes},
        probe=(lambda model: scores(model, held_out)) if config.fit.probe_every else None,
    )  # fmt: skip
    return learner.segmenter.eval()


@torch.no_grad()
def scores(model: nn.Module, pairs: PairBatch, *, batch: int = 16) -> dict[str, float]:
    """Share of points whose part is right, and mean intersection over union of the parts.

    Args:
        model: A segmenter in evaluation mode.
        pairs: Clouds with parts; the first of each pair counts.
        batch: Clouds at a time.
    """
    parts = known_parts(pairs)
    found = torch.cat([model(x)["logits"].argmax(-1).cpu() for x in pairs.a.split(batch)])
    iou = []
    for part in parts.unique().tolist():
        either = ((found == part) | (parts == part)).sum()
        iou.append(float(((found == part) & (parts == part)).sum() / either))
    return {"right": float((found == parts).double().mean()), "iou": sum(iou) / len(iou)}


def load_trained(path: Path) -> tuple[APENSegmenter, dict[str, Any]]:
    """Load what training saved.

    Args:
        path: ``checkpoints/last.safetensors`` of a run.

    Returns:
        The network in evaluation mode, and the header of the file.

    Raises:
        DataFormatError: The file is missing, damaged, of another program or architecture.
    """
    header = read_header(path)
    try:
        if header["format"] != HEADER_FORMAT:
            raise KeyError(f"format {header['format']}")
        network: PartNetwork = network_settings(header["network"])
    except (KeyError, TypeError) as error:
        raise DataFormatError(
            expected=f"weights of a network on parts, format {HEADER_FORMAT!r}",
            got=f"{type(error).__name__}: {error}", argument=str(path),
            advice="Pass a file that `equivariant train apen` wrote.",
        ) from error  # fmt: skip
    learner = PartLearner(APENSegmenter(PARTS, network.config()), told=0.0, votes=0.0)
    load_weights(path, learner)
    return learner.segmenter.eval(), header
