"""A trained run on digits with its data: opened, evaluated, measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from equivariant.errors import ConventionError, DataFormatError
from equivariant.measure import EquivarianceReport, equivariance_error
from equivariant.recipes.lie_affnist.digit_sets import (
    LabelledPictures,
    labelled,
    open_digits,
    set_laws,
)
from equivariant.recipes.lie_affnist.evaluation import EvaluationConfig, evaluate
from equivariant.recipes.lie_affnist.models import TrainedDigits, load_trained
from equivariant.recipes.lie_affnist.settings import (
    DigitExperiment,
    plane_law,
    restore_experiment,
)
from equivariant.runs import RunFolder, file_digest, write_json
from equivariant.shapes import Images
from equivariant.training import read_header

PLAIN = "plain network"
_FREE = ("batch_size", "device")  # of an evaluation: they change no number but its rounding


@dataclass(frozen=True)
class OpenRun:
    """A trained run with its data.

    Args:
        run: Folder.
        experiment: Its settings, with the place where the data are now.
        trained: The network.
        training_digest: Checksum of the digits that it learned from.
    """

    run: RunFolder
    experiment: DigitExperiment
    trained: TrainedDigits
    training_digest: str

    def fingerprint(self, test_digest: str, **settings: Any) -> dict[str, Any]:
        """What numbers of this run depend on; JSON.

        Args:
            test_digest: Checksum of the test digits.
            settings: Of an evaluation or a measurement.
        """
        return {
            "weights": file_digest(self.run.weights),
            "data": {"train": self.training_digest, "test": test_digest},
            "settings": {k: v for k, v in settings.items() if k not in _FREE},
        }


def open_run(run: RunFolder, *, data: Path | None = None) -> OpenRun:
    """Open a trained run and find its data.

    Args:
        run: Folder.
        data: Where MNIST's files are now; None takes the place where they were.

    Raises:
        DataFormatError: The run or its data are missing or damaged.
        ConventionError: The data are not those of the run.
    """
    experiment = restore_experiment(run)
    experiment = replace(experiment, data=data or experiment.data)
    if not experiment.data.is_dir():
        raise DataFormatError(
            expected="the folder of MNIST's files", got="nothing there",
            argument=str(experiment.data),
            advice=f"If they were moved, name their new place: --data NEW_PLACE (run {run.path}).",
        )  # fmt: skip
    trained = load_trained(run.weights)
    digest = open_digits(experiment, "train", count=experiment.count).digest()
    known = read_header(run.weights)["data"]
    if known != digest:
        raise ConventionError(
            expected=f"the digits that the run {run.path} was trained on, of checksum {known}",
            got=f"checksum {digest}", argument=str(experiment.data),
            advice="They were changed since, or are others: name the right place with --data.",
        )  # fmt: skip
    return OpenRun(run, experiment, trained, digest)


def evaluate_run(opened: OpenRun, config: EvaluationConfig) -> dict[str, Any]:
    """Evaluate the weights of a run and write ``measures.json``.

    Args:
        opened: A trained run.
        config: How.

    Returns:
        The measures, with the ``fingerprint`` of what they depend on.
    """
    experiment = opened.experiment
    test = open_digits(experiment, "test", count=config.digits, seed=config.seed)
    sets = {
        name: labelled(test, law, seed=config.seed)
        for name, law in set_laws(experiment, config.radii).items()
    }
    seen = _probe_pictures(opened, config.probe_digits) if opened.trained.contrastive else None
    measures = evaluate(opened.trained, sets, config, seen=seen)
    measures |= {
        "title": experiment.title,
        "objective": experiment.objective,
        "fingerprint": opened.fingerprint(test.digest(), **asdict(config)),
    }
    write_json(opened.run.path / "measures.json", measures)
    return measures


def measure_run(
    opened: OpenRun, images: Images, *, samples: Sequence[int], elements: int
) -> dict[str, EquivarianceReport]:
    """Equivariance errors of a run's network on centred digits, by its own declaration.

    Args:
        opened: A trained run.
        images: Centred test digits, shape (N, 1, side, side).
        samples: Numbers of group elements in its layers; of a plain network there is one report.
        elements: Motions per digit.

    Returns:
        Reports by what was measured, in words. They are about one set of group elements each,
        that of the evaluation mode: intervals are over digits and motions.
    """
    trained = opened.trained
    numbers = samples if trained.config.model == "lie" else (None,)
    return {
        PLAIN if number is None else f"N = {number}": equivariance_error(
            trained.with_samples(number).eval(), images, samples=elements,
            logits=not trained.contrastive,
        )
        for number in numbers
    }  # fmt: skip


def _probe_pictures(opened: OpenRun, count: int) -> LabelledPictures:
    """Training digits moved by the law of the run."""
    experiment = opened.experiment
    learned = open_digits(experiment, "train", count=experiment.count)
    chosen = open_digits(experiment, "train", count=min(count or len(learned), len(learned)))
    return labelled(chosen, plane_law(experiment.law, experiment.law_radius), seed=experiment.seed)
