"""Learning rates over the steps of a run."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "cosine"]


def learning_rate(
    step: int,
    *,
    peak: float,
    steps: int,
    warmup: int,
    schedule: Schedule,
    progress: float | None = None,
) -> float:
    """Learning rate of one step: a linear warm-up, then constant or half a cosine to zero.

    Args:
        step: From 0.
        peak: Largest rate.
        steps: Steps of the whole run.
        warmup: Steps until the peak is reached.
        schedule: What follows the warm-up.
        progress: Share of the run that is done, from 0 to 1, where time ends it and not ``steps``.

    Example:
        >>> learning_rate(0, peak=1.0, steps=10, warmup=2, schedule="cosine")
        0.5
        >>> round(learning_rate(6, peak=1.0, steps=10, warmup=2, schedule="cosine"), 6)
        0.5
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    if progress is None:
        progress = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
