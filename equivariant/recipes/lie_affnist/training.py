"""Training of networks for digits, kept in a run folder."""

from __future__ import annotations

from collections.abc import Callable

from lightning_fabric import Fabric
from torch import nn

from equivariant.errors import ConventionError
from equivariant.recipes.lie_affnist.digit_sets import labelled, open_digits, training_pairs
from equivariant.recipes.lie_affnist.evaluation import probe_scores
from equivariant.recipes.lie_affnist.models import TrainedDigits, build_learner, make_header
from equivariant.recipes.lie_affnist.settings import DigitExperiment, plane_law
from equivariant.runs import RunFolder
from equivariant.training import fit


def train(
    config: DigitExperiment,
    run: RunFolder,
    *,
    fabric: Fabric | None = None,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> TrainedDigits:
    """Train a network and keep weights, metrics and settings in a run folder.

    Group elements of a training step come from PyTorch's random numbers, which depend on the
    step alone, so that a run that was interrupted has the weights of one that was not.

    Args:
        config: What to train on what.
        run: Where to keep it; a run that was interrupted there goes on.
        fabric: Processes that are started already.
        progress: Show a bar on stderr.
        say: Receives a line about the size of the network.

    Raises:
        DataFormatError: A file of MNIST is missing or damaged.
        ConventionError: Settings do not fit the data, or the loss is not finite.
    """
    pairs = training_pairs(config)
    if config.fit.batch_size > len(pairs.dataset):
        raise ConventionError(
            expected=f"batches of at most {len(pairs.dataset)} digits",
            got=str(config.fit.batch_size), argument="--batch-size",
            advice="Pass a smaller batch, or a larger --count or smaller --validation.",
        )  # fmt: skip
    learner = build_learner(config)
    if say is not None:
        weights = sum(p.numel() for p in learner.model.parameters())
        say(f"{config.title}: {weights} weights, {len(pairs.dataset)} digits")
    identity = {
        "law": repr(plane_law(config.law, config.law_radius)), "augment": config.augment,
    }  # fmt: skip
    fit(
        learner, pairs, config.fit, run=run, fabric=fabric, progress=progress, seed=config.seed,
        header=make_header(config, data=pairs.dataset.digest()), identity=identity,
        probe=_probe(config, len(pairs.dataset)) if config.fit.probe_every else None,
    )  # fmt: skip
    return TrainedDigits(learner.model.eval(), config.network)


def _probe(config: DigitExperiment, learned: int) -> Callable[[nn.Module], dict[str, float]]:
    """Scores on held-out digits while training; heads are fitted to digits that are learned."""
    law, seed = plane_law(config.law, config.law_radius), config.seed
    count = min(config.probed or config.validation, config.validation)
    unseen = open_digits(config, "val", count=count)
    sets = {"centred": labelled(unseen, None, seed=seed), "moved": labelled(unseen, law, seed=seed)}
    seen = labelled(open_digits(config, "train", count=min(count, learned)), law, seed=seed)

    def probe(model: nn.Module) -> dict[str, float]:
        return probe_scores(TrainedDigits(model, config.network), seen, sets)

    return probe
