"""How to train: the settings of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from equivariant.errors import ConventionError, check_option
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
        accumulate: Parts that a step's batch is computed in, one after the other, to save
            memory. Their gradients are averaged, which is the step of the whole batch where the
            loss is a mean over samples (supervised learning); contrastive and variance terms need
            the whole batch and are refused. Batch normalization sees one part at a time.
        optimizer: "adam", whose weight decay is an L2 term of the loss; "adamw", whose decay is
            not; "sgd" with momentum; "lars", the same with a rate for each layer, for large
            batches (a learning_rate of 0.2 for each 256 pairs is usual).
        momentum: Of sgd and lars.
        learning_rate: Peak rate of the optimizer.
        weight_decay: Of the optimizer.
        decay_on: What decays: "all" parameters, as in SIE's published code; or "weights" alone,
            not biases, normalizations and other parameters of one dimension.
        warmup_steps: Steps of linear warm-up.
        schedule: What follows the warm-up: constant, or half a cosine to zero.
        amsgrad: Of adam and adamw: the variant whose step sizes never grow again.
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
    accumulate: int = 1
    optimizer: Literal["adam", "adamw", "sgd", "lars"] = "adam"
    momentum: float = 0.9
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    decay_on: Literal["all", "weights"] = "all"
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
        check_option(self.optimizer, ("adam", "adamw", "sgd", "lars"), "optimizer")
        check_option(self.decay_on, ("all", "weights"), "decay_on")
        names = ("batch_size", "accumulate", "devices", "log_every")
        wrong = [f"{name}={getattr(self, name)}" for name in names if getattr(self, name) < 1]
        if self.weight_decay < 0 or not 0 <= self.momentum < 1:
            wrong.append(f"weight_decay={self.weight_decay}, momentum={self.momentum}")
        if self.amsgrad and self.optimizer not in ("adam", "adamw"):
            wrong.append(f"amsgrad with {self.optimizer}")
        if self.steps < 0 or not (self.steps or self.minutes > 0):
            wrong.append(f"steps={self.steps}, minutes={self.minutes}")
        if min(self.minutes, self.gradient_clip) < 0 or not 0 <= self.average_decay < 1:
            wrong.append(
                f"minutes={self.minutes}, gradient_clip={self.gradient_clip}, "
                f"average_decay={self.average_decay}"
            )
        if self.batch_size % max(1, self.devices * self.accumulate):
            wrong.append(
                f"batch_size={self.batch_size} over {self.devices} devices, "
                f"accumulate={self.accumulate}"
            )
        if wrong or not self.learning_rate > 0:
            raise ConventionError(
                expected="positive steps or minutes, batch_size, accumulate, devices, log_every "
                "and learning_rate, gradient_clip and weight_decay of at least 0, average_decay "
                "and momentum in [0, 1), amsgrad with adam or adamw only, the batch a multiple of "
                "devices times accumulate",
                got=", ".join(wrong) or f"learning_rate={self.learning_rate}",
                argument="config",
                advice="batch_size counts the pairs of all devices together.",
            )
