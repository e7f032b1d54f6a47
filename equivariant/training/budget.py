"""When a run is over."""

from __future__ import annotations

import time

from lightning_fabric import Fabric

from equivariant.training.config import FitConfig


class Budget:
    """A run is over at its last step, or when its time is used up, after one step at least.

    Args:
        config: Steps, minutes and clock.
        start: Steps done already.
        seconds: Time spent already.
        fabric: Processes, which all go by the first one's clock.
    """

    def __init__(self, config: FitConfig, *, start: int, seconds: float, fabric: Fabric) -> None:
        self.config, self.start, self.fabric = config, start, fabric
        self._time = time.process_time if config.clock == "processor" else time.monotonic
        self._before, self._since = seconds, self._time()
        self._answers: dict[int, bool] = {}

    def spent(self) -> float:
        """Seconds of the whole run, those before it was resumed included."""
        return self._before + self._time() - self._since

    def progress(self, step: int) -> float | None:
        """Share of the run that is done, or None where steps alone say it."""
        if not self.config.minutes:
            return None
        by_steps = step / self.config.steps if self.config.steps else 0.0
        return min(1.0, max(by_steps, self.spent() / (60 * self.config.minutes)))

    def over(self, step: int) -> bool:
        """Whether this step was the last."""
        if self.config.steps and step >= self.config.steps:
            return True
        if not self.config.minutes or not step:
            return False
        if step not in self._answers:
            late = self.spent() >= 60 * self.config.minutes
            self._answers = {step: bool(self.fabric.broadcast(late))}
        return self._answers[step]
