"""Parts of bodies for the commands ``train``, ``evaluate`` and ``measure``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from datasets3d.clouds.piece_clouds import PieceClouds
from equivariant.errors import ConventionError
from equivariant.nn import APENSegmenter
from equivariant.recipes.apen_parts.body_sets import (
    body_sets,
    drawn_pairs,
    fingerprint,
    known_parts,
)
from equivariant.recipes.apen_parts.settings import PartExperiment, restore_experiment
from equivariant.recipes.apen_parts.training import load_trained, scores, train
from equivariant.runs import RunFolder, file_digest, write_json
from equivariant.workflows.measuring.pieces import measure_pieces
from equivariant.workflows.recipe import Recipe, RunVerb

Say = Callable[[str], None]


@dataclass(frozen=True)
class PartEvaluation:
    """How well parts are found in unseen poses, and what the certificates are worth.

    Certificates are calibrated on validation clouds, each in two poses of the same body, and
    compared with what happens between two test poses. Writes measures.json into the run's
    folder.

        equivariant evaluate runs/parts-unseen-sequences/TIME-LETTERS

    Args:
        clouds: Validation and test clouds, at most.
        tolerance: Change of probabilities that the certificate allows.
        level: Of the bound on the change.
        seed: Of the choice of clouds.
        data: Where the motions are now, if they were moved.
    """

    clouds: int = 256
    tolerance: float = 0.2
    level: float = 0.9
    seed: int = 0
    data: Path | None = None


@dataclass(frozen=True)
class PartMeasurement:
    """Measure how much predictions change when every part is moved by an element of its own.

    Prints the change of probabilities part by part, with intervals, and writes it into
    equivariance.json in the run's folder.

        equivariant measure runs/parts-unseen-sequences/TIME-LETTERS

    Args:
        clouds: Test clouds.
        elements: Motions drawn for each.
        scale: Deviation of translations, in metres.
        seed: Of the choice of clouds.
        data: Where the motions are now, if they were moved.
    """

    clouds: int = 8
    elements: int = 4
    scale: float = 0.2
    seed: int = 0
    data: Path | None = None


def evaluate(run: RunFolder, options: PartEvaluation, *, say: Say) -> None:
    """Evaluate a run, say its numbers and keep them.

    Args:
        run: A trained run.
        options: How.
        say: Receives lines.
    """
    model, sets = _opened(run, options.data)
    val, test = (
        drawn_pairs(sets[name], options.clouds, seed=options.seed) for name in ("val", "test")
    )
    found: dict[str, Any] = {"val": scores(model, val), "test": scores(model, test)}
    model.calibrate(
        val.a, val.b, known_parts(val), tolerance=options.tolerance, level=options.level
    )
    certificates, bounds, changes = [], [], []
    with torch.no_grad():
        for a, b in zip(test.a.split(16), test.b.split(16), strict=True):
            before, after = model(a), model(b)
            certificates.append(before.certificate)
            bounds.append(before.bound.change)
            difference = before.probabilities - after.probabilities
            changes.append(difference.norm(dim=-1).mean(1))
    certificate, bound, change = (torch.cat(v) for v in (certificates, bounds, changes))
    found["certificate"] = {
        "tolerance": options.tolerance, "level": options.level,
        "promised": float(certificate.mean()),
        "exceeded": float((change > options.tolerance).double().mean()),
        "bound": float(bound.mean()), "below": float((change <= bound).double().mean()),
        "change": float(change.mean()),
    }  # fmt: skip
    found["weights"] = file_digest(run.weights)
    write_json(run.path / "measures.json", found)
    for name in ("val", "test"):
        say(f"{name:>5}: {found[name]['right']:.1%} of points right, IoU {found[name]['iou']:.1%}")
    c = found["certificate"]
    say(
        f"change of probabilities between two test poses: {c['change']:.3f}; above "
        f"{options.tolerance:g} in {c['exceeded']:.1%}, promised at most {c['promised']:.1%}"
    )
    say(f"below the bound {c['bound']:.3f}: {c['below']:.1%}, promised {options.level:.0%}")


def measure(run: RunFolder, options: PartMeasurement, *, say: Say) -> None:
    """Measure a run's network under motions of parts, say the table and keep it.

    Args:
        run: A trained run.
        options: How many of what.
        say: Receives lines.

    Raises:
        ConventionError: No cloud or motion is asked for.
    """
    if min(options.clouds, options.elements) < 1:
        raise ConventionError(
            expected="at least one cloud and one motion",
            got=f"clouds={options.clouds}, elements={options.elements}",
            argument="clouds or elements", advice="Leave them out for 8 clouds and 4 motions.",
        )  # fmt: skip
    model, sets = _opened(run, options.data)
    test = drawn_pairs(sets["test"], options.clouds, seed=options.seed)
    found = measure_pieces(
        model, test.a, known_parts(test), samples=options.elements, scale=options.scale
    )
    names = dict(enumerate(sets["test"].part_names))
    lines = {
        "all" if key == "all" else names[int(key.split()[1])]: vars(value)
        for key, value in found.errors.items()
    }
    write_json(
        run.path / "equivariance.json", {"change": lines, "weights": file_digest(run.weights)}
    )
    say("change of probabilities, root mean square over the points of each part")
    for name, value in lines.items():
        say(f"{name:>16}  {value['value']:.2e} [{value['low']:.2e}, {value['high']:.2e}]")


def _opened(run: RunFolder, data: Path | None) -> tuple[APENSegmenter, dict[str, PieceClouds]]:
    """The network of a run and its clouds."""
    experiment: PartExperiment = restore_experiment(run)
    model, header = load_trained(run.weights)
    sets = body_sets(replace(experiment, data=data or experiment.data))
    if header["data"] != fingerprint(sets["train"]):
        raise ConventionError(
            expected=f"the motions that the run {run.path} was trained on",
            got="others", argument=str(data or experiment.data),
            advice="They were changed since: name the right place with --data.",
        )  # fmt: skip
    return model, sets


RECIPE = Recipe(
    settings=PartExperiment,
    restore=restore_experiment,
    train=train,
    evaluate=RunVerb(PartEvaluation, evaluate),
    measure=RunVerb(PartMeasurement, measure),
)
