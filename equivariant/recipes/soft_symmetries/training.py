"""Training on tasks with soft symmetries, kept in a run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from equivariant.recipes.soft_symmetries.methods import build_learner, moved_by
from equivariant.recipes.soft_symmetries.settings import SoftExperiment
from equivariant.recipes.soft_symmetries.task_sets import ExampleStream, task_sets
from equivariant.runs import RunFolder
from equivariant.training import fit
from equivariant.training.learners.soft import SoftLearner

FORMAT = "soft-symmetries-1"


def fresh_learner(config: SoftExperiment) -> SoftLearner:
    """Network and term with the fresh weights of the experiment's seed.

    Args:
        config: The experiment.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_learner(config, task_sets(config).train)


def train(
    config: SoftExperiment,
    run: RunFolder,
    *,
    fabric: Fabric | None = None,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> nn.Module:
    """Train a network and keep weights, metrics and settings in a run folder.

    Args:
        config: What to train on what.
        run: Where to keep it; a run that was interrupted there goes on.
        fabric: Processes that are started already.
        progress: Show a bar on stderr.
        say: Receives a line about the size of the network.

    Raises:
        ConventionError: The loss is not finite, or the folder holds a run of other settings.
    """
    sets = task_sets(config)
    learner = fresh_learner(config)
    if say is not None:
        weights = sum(p.numel() for p in learner.model.parameters())
        say(f"{config.title}: {weights} weights, {len(sets.train.x)} examples")
    stream = ExampleStream(sets.train, seed=config.seed, moved_by=moved_by(config, sets.train))
    fit(
        learner, stream, config.fit, run=run, fabric=fabric, progress=progress, seed=config.seed,
        header=header_of(config), identity={"task": config.title},
    )  # fmt: skip
    return learner.model.eval()


def header_of(config: SoftExperiment) -> dict[str, Any]:
    """What a weights file says of itself, so that it can be loaded without further settings."""
    settings = {**asdict(config), "data": str(config.data)}
    return {"format": FORMAT, "settings": {k: v for k, v in settings.items() if k != "fit"}}
