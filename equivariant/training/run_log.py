"""Metrics file and progress bar of a run."""

from __future__ import annotations

import time

from torch import Tensor
from tqdm import tqdm

from equivariant.runs import RunFolder
from equivariant.training.budget import Budget
from equivariant.training.config import FitConfig
from equivariant.training.recorder import Recorder
from equivariant.training.resume.agreement import check_finite_losses


class RunLog:
    """Metrics file and progress bar of the first process; nothing on the others.

    Args:
        run: Folder.
        config: What is logged how often.
        budget: Of the run.
        active: Whether this is the first process.
        progress: Show the bar.
    """

    def __init__(
        self, run: RunFolder, config: FitConfig, budget: Budget, *, active: bool, progress: bool
    ) -> None:
        self._config, self._budget, self._started = config, budget, time.monotonic()
        self._since = budget.start
        events = run.path / "tensorboard" if config.tensorboard else None
        self._recorder = (
            Recorder(run.metrics, start=budget.start, tensorboard=events) if active else None
        )
        hidden = not (progress and active)
        if config.minutes:  # the bar shows the share of the run, in percent
            self._bar = tqdm(
                total=100, initial=self._percent(budget.start), disable=hidden,
                bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}",
            )  # fmt: skip
        else:
            self._bar = tqdm(total=config.steps, initial=budget.start, unit="step", disable=hidden)

    def step(
        self, step: int, total: Tensor, terms: dict[str, Tensor], *, last: bool, good: int
    ) -> None:
        """Move the bar; every so many steps, check the losses and write them down."""
        self._bar.update(self._percent(step) - self._bar.n if self._config.minutes else 1)
        if step % self._config.log_every and not last:
            return
        values = {"total": float(total.detach()), **{k: float(v) for k, v in terms.items()}}
        check_finite_losses(values, step=step, good=good)
        self._bar.set_postfix(loss=f"{values['total']:.4g}")
        rate = (step - self._since) / (time.monotonic() - self._started)
        self.record(step, {**values, "steps_per_second": round(rate, 3)})

    def record(self, step: int, values: dict[str, float]) -> None:
        """Write some numbers down."""
        if self._recorder is not None:
            self._recorder.record(step, values)

    def close(self) -> None:
        """End the bar and the files."""
        self._bar.close()
        if self._recorder is not None:
            self._recorder.close()

    def _percent(self, step: int) -> float:
        return round(100 * (self._budget.progress(step) or 0.0), 1)
