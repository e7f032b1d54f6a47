"""How to train: the settings of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from equivariant.errors import ConventionError
from equivariant.training.schedule import Schedule


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Args:
        steps: Optimizer steps of the whole run; 0 for as many as ``minutes`` allow.
        minutes: Time of the whole run, pauses between resumed parts not counted; the run
            ends at this or at ``steps``, whichever is first. 0 for no limit. How many steps a
            time holds is not the same twice: such a run is not repeated bit for bit.
        clock: What minutes count: "wall", or "processor" for the time this process computes, on
            machines that others use as well.
        batch_size: Pairs (or other items) per step, over all processes together.
        learning_rate: Peak rate of Adam.
        weight_decay: L2 weight decay of Adam, on all parameters.
        warmup_steps: Steps of linear warm-up.
        schedule: What follows the warm-up: constant, or half a cosine to zero.
        amsgrad: Use the variant of Adam whose step sizes never grow again.
        gradient_clip: Largest norm of the gradient of all parameters together; 0 for no limit.
        average_decay: Decay of a moving average of the weights, see ``WeightAverage``; probes
            see the average, and it is what the weights file holds. 0 for none.
        precision: "32"; "bf16" for mixed precision, whose objective stays in 32 bits.
        accelerator: "cpu", "cuda", or "auto" for a GPU where there is one.
        devices: Processes, one per device.
        log_every: Steps between lines of metrics.
        probe_every: Steps between probes on held-out data; 0 for none.
        checkpoint_every: Steps between checkpoints; the last step always has one.
        tensorboard: Also write TensorBoard's event files into the run folder.
    """

    steps: int = 2000
    minutes: float = 0.0
    clock: Literal["wall", "processor"] = "wall"
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    warmup_steps: int = 0
    schedule: Schedule = "constant"
    amsgrad: bool = False
    gradient_clip: float = 0.0
    average_decay: float = 0.0
    precision: Literal["32", "bf16"] = "32"
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    log_every: int = 20
    probe_every: int = 0
    checkpoint_every: int = 500
    tensorboard: bool = False

    def __post_init__(self) -> None:
        low = {name: getattr(self, name) for name in ("batch_size", "devices", "log_every")}
        wrong = [f"{name}={value}" for name, value in low.items() if value < 1]
        if self.steps < 0 or not (self.steps or self.minutes > 0):
            wrong.append(f"steps={self.steps}, minutes={self.minutes}")
        if min(self.minutes, self.gradient_clip) < 0 or not 0 <= self.average_decay < 1:
            wrong.append(
                f"minutes={self.minutes}, gradient_clip={self.gradient_clip}, "
                f"average_decay={self.average_decay}"
            )
        if self.batch_size % max(1, self.devices):
            wrong.append(f"batch_size={self.batch_size} over {self.devices} devices")
        if wrong or not self.learning_rate > 0:
            raise ConventionError(
                expected="positive steps or minutes, batch_size, devices, log_every and "
                "learning_rate, gradient_clip of at least 0, average_decay in [0, 1), the batch "
                "a multiple of the devices",
                got=", ".join(wrong) or f"learning_rate={self.learning_rate}",
                argument="config",
                advice="batch_size counts the pairs of all devices together.",
            )
