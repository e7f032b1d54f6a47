"""What has to agree for a run to go on exactly, and whether its state is fit to be kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.runs import RunFolder, remove_temporary
from equivariant.training.averaging import WeightAverage
from equivariant.training.config import FitConfig
from equivariant.training.resume.checkpoint import load_state, read_state, save_state, save_weights

# Settings that may differ from part to part of a run: none of them changes a step.
FREE = (
    "steps", "minutes", "log_every", "probe_every", "checkpoint_every", "tensorboard",
    "accelerator", "devices",
)  # fmt: skip
_ABSENT = "nothing"


class Checkpoints:
    """The state of a run: restored where it stopped, checked and saved as it goes on.

    Args:
        run: Folder.
        learner: What is trained.
        average: Moving average of its weights, which the weights file then holds.
        optimizer: Its optimizer.
        config: Settings.
        header: Written into the weights file.
        seed: Of what steps draw.
        identity: What determines the weights besides; JSON.
    """

    def __init__(
        self,
        run: RunFolder,
        learner: nn.Module,
        average: WeightAverage | None,
        optimizer: torch.optim.Optimizer,
        config: FitConfig,
        header: dict[str, Any],
        seed: int,
        identity: Mapping[str, Any],
    ) -> None:
        self._run, self._learner, self._average = run, learner, average
        self._optimizer, self._config, self._header = optimizer, config, header
        self._identity = _plain({"header": header, "seed": seed, **identity})
        both = {"learner": learner, "average": average}
        self._saved = learner if average is None else nn.ModuleDict(both)  # type: ignore[arg-type]
        # Buffers may hold infinities by design, as masks do; parameters may not.
        self._unbounded = {n for n, b in learner.named_buffers() if not _finite(b)}
        self.step = 0
        """Step of the last checkpoint."""

    def remove_temporary(self) -> None:
        """Remove what a run that was killed was writing."""
        run = self._run
        for path in (
            run.weights, run.previous_weights, run.resume, run.previous_resume, run.metrics
        ):  # fmt: skip
            remove_temporary(path)

    def restore(self) -> tuple[int, float]:
        """Load the state of an interrupted run; steps and seconds done, 0 where there is none.

        Raises:
            ConventionError: The run was started with other settings, seed, data or model.
            DataFormatError: The file is damaged or belongs to another architecture.
        """
        path = self._run.resume
        if not path.is_file():
            return 0, 0.0
        check_same_run(read_state(path)[1], self._config, self._identity)
        self.step, extra = load_state(path, self._saved, self._optimizer)
        return self.step, float(extra.get("seconds", 0.0))

    def check(self, step: int) -> None:
        """Raise ConventionError if a weight is not finite after this step."""
        state = self._learner.state_dict()
        numbers = {
            name: value.detach()
            for name, value in state.items()
            if value.is_floating_point() and name not in self._unbounded
        }
        # One number to wait for, where all is well.
        if not numbers or bool(torch.stack([v.abs().amax() for v in numbers.values() if v.numel()])
                               .double().isfinite().all()):  # fmt: skip
            return
        raise self._not_finite("weights", numbers, f"at step {step}")

    def check_gradients(self, step: int) -> None:
        """Raise ConventionError, before the weights change, if a gradient is not finite."""
        numbers = {
            name: p.grad for name, p in self._learner.named_parameters() if p.grad is not None
        }
        if not numbers:
            return
        # One number to wait for, where all is well: a sum is finite only if every summand is.
        if bool(torch.stack([g.sum().isfinite() for g in numbers.values()]).all()):
            return
        if all(_finite(gradient) for gradient in numbers.values()):
            return  # large numbers, whose sum overflows
        raise self._not_finite(
            "gradients",
            numbers,
            f"at step {step}, whose weights are still those of step {step - 1}",
        )

    def _not_finite(self, what: str, numbers: dict[str, Tensor], when: str) -> ConventionError:
        wrong = [name for name, value in numbers.items() if not _finite(value)]
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return ConventionError(
            expected=f"finite {what}",
            got=f"NaN or infinity in {', '.join(wrong[:3])}{more} {when}",
            argument="learner",
            advice=f"{_last(self.step)} Look for inputs that are not finite, lower the learning "
            "rate, or train in precision 32.",
        )

    def save(self, step: int, *, seconds: float, active: bool) -> None:
        """Check and write a checkpoint; the one before is kept.

        Args:
            step: Steps done.
            seconds: Time spent.
            active: Whether this is the process that writes.

        Raises:
            ConventionError: A weight is not finite; the last checkpoint is whole.
            StorageError: The disk is full; the last checkpoint is whole.
        """
        self.check(step)
        run, average = self._run, self._average
        if active:
            with average.applied(self._learner) if average is not None else nullcontext():
                save_weights(
                    run.weights, self._learner, header=self._header, keep=run.previous_weights
                )
            timed = {"seconds": seconds} if self._config.minutes else {}
            extra = {**asdict(self._config), **timed, "identity": self._identity}
            save_state(
                run.resume, self._saved, self._optimizer, step=step, extra=extra,
                keep=run.previous_resume,
            )  # fmt: skip
        self.step = step


def check_same_run(extra: Mapping[str, Any], config: FitConfig, identity: Any) -> None:
    """Raise ConventionError unless a run that goes on is the one that was started.

    Args:
        extra: What the resume file says.
        config: Settings now.
        identity: What else determines the weights, now.
    """
    usual = asdict(FitConfig())
    changed = {
        name: (extra.get(name, usual[name]), now)
        for name, now in asdict(config).items()
        if name not in FREE and now != extra.get(name, usual[name])
    }
    if "identity" in extra:  # files of older versions do not say
        changed |= _differences(extra["identity"], identity)
    timed = config.minutes or extra.get("minutes")
    steps_before = int(extra.get("steps", 0))
    if not timed and config.schedule != "constant" and config.steps < steps_before:
        changed["steps"] = (steps_before, config.steps)
    if changed:
        words = [f"{name}={now!r} instead of {before!r}" for name, (before, now) in changed.items()]
        raise ConventionError(
            expected="the settings, seed and data the run was started with",
            got=", ".join(words[:6]) + (f" and {len(words) - 6} more" if len(words) > 6 else ""),
            argument="config",
            advice="Start a new run folder for anything else; steps and minutes may be raised.",
        )


def check_finite_losses(values: Mapping[str, float], *, step: int, good: int) -> None:
    """Raise ConventionError if a loss is not finite.

    Args:
        values: Losses by name.
        step: Steps done.
        good: Step of the last checkpoint, which is whole; 0 for none.
    """
    wrong = [name for name, value in values.items() if not abs(value) < float("inf")]
    if wrong:
        raise ConventionError(
            expected="finite losses",
            got=f"{', '.join(wrong)} not finite at step {step}",
            argument="learner",
            advice=f"{_last(good)} Lower the learning rate, or train in precision 32.",
        )


def _last(good: int) -> str:
    return f"The checkpoint of step {good} is whole." if good else "There is no checkpoint yet."


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(value.isfinite().all())


def _differences(before: Any, now: Any, name: str = "") -> dict[str, tuple[Any, Any]]:
    """Leaves of two JSON trees that differ, by their dotted name."""
    if isinstance(before, dict) and isinstance(now, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for key in sorted(before.keys() | now.keys()):
            path = f"{name}.{key}" if name else key
            found |= _differences(before.get(key, _ABSENT), now.get(key, _ABSENT), path)
        return found
    return {} if before == now else {name: (before, now)}


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, sort_keys=True, default=str))
