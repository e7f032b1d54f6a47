"""The training loop: one page, any device, several processes, exact resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from equivariant.errors import ConventionError
from equivariant.pairs import PairBatch
from equivariant.runs import RunFolder
from equivariant.training.checkpoint import load_state, save_state, save_weights
from equivariant.training.learners import Learner
from equivariant.training.recorder import Recorder
from equivariant.training.schedule import Schedule, learning_rate


@runtime_checkable
class PairStream(Protocol):
    """Where batches come from: the batch of a step is a function of the step alone."""

    def stream(
        self, batch_size: int, *, start: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[PairBatch]:
        """Batches of steps start, start + 1, ...; process ``rank`` of ``world`` gets its share.

        The shares of all processes together are the batch that one process would get.
        """


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Args:
        steps: Optimizer steps of the whole run.
        batch_size: Pairs per step, over all processes together.
        learning_rate: Peak rate of Adam.
        weight_decay: L2 weight decay of Adam, on all parameters.
        warmup_steps: Steps of linear warm-up.
        schedule: What follows the warm-up: constant, or half a cosine to zero.
        precision: "32"; "bf16" for mixed precision, whose objective stays in 32 bits.
        accelerator: "cpu", "cuda", or "auto" for a GPU where there is one.
        devices: Processes, one per device.
        log_every: Steps between lines of metrics.
        probe_every: Steps between probes on held-out data; 0 for none.
        checkpoint_every: Steps between checkpoints; the last step always has one.
        tensorboard: Also write TensorBoard's event files into the run folder.
    """

    steps: int = 2000
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    warmup_steps: int = 0
    schedule: Schedule = "constant"
    precision: Literal["32", "bf16"] = "32"
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    log_every: int = 20
    probe_every: int = 0
    checkpoint_every: int = 500
    tensorboard: bool = False

    def __post_init__(self) -> None:
        low = {
            name: getattr(self, name) for name in ("steps", "batch_size", "devices", "log_every")
        }
        wrong = [f"{name}={value}" for name, value in low.items() if value < 1]
        if self.batch_size % max(1, self.devices):
            wrong.append(f"batch_size={self.batch_size} over {self.devices} devices")
        if wrong or not self.learning_rate > 0:
            raise ConventionError(
                expected="positive steps, batch_size, devices, log_every and learning_rate, the "
                "batch a multiple of the devices",
                got=", ".join(wrong) or f"learning_rate={self.learning_rate}",
                argument="config",
                advice="batch_size counts the pairs of all devices together.",
            )


def launch(config: FitConfig) -> Fabric:
    """Start the processes that training runs in; under torchrun, join those it started.

    With several devices the calling script is started again for each of them, so call it before
    anything that only one process should do.

    Args:
        config: Devices and precision.
    """
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=config.devices,
        # A method may leave parts of a model unused: a supervised one its projectors.
        strategy="ddp_find_unused_parameters_true" if config.devices > 1 else "auto",
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def fit(
    learner: Learner,
    pairs: PairStream,
    config: FitConfig,
    *,
    run: RunFolder,
    header: dict[str, Any] | None = None,
    probe: Callable[[nn.Module], dict[str, float]] | None = None,
    fabric: Fabric | None = None,
    progress: bool = True,
) -> Learner:
    """Train, log, checkpoint; go on where an interrupted run of the same folder stopped.

    A run that was stopped and started again has, on a CPU, bit for bit the weights of one that
    was not: batches depend on the step alone, and the optimizer's state is saved with the
    weights. Embeddings are gathered over processes by the objective, so several processes have
    the gradient of one with the whole batch; batch normalization is synchronized on GPUs (on
    CPUs each process normalizes its own share, which PyTorch does not offer otherwise).

    Args:
        learner: What is trained; its weights are changed in place.
        pairs: Batches.
        config: How.
        run: Folder for metrics, checkpoints and resume state.
        header: Written into the weights file: whatever builds the model again; JSON.
        probe: Called with the model in evaluation mode every ``config.probe_every`` steps;
            what it returns is logged.
        fabric: Processes that :func:`launch` started already; None starts them here.
        progress: Show a bar with time left, on stderr.

    Returns:
        The learner, trained, in evaluation mode.

    Raises:
        ConventionError: The folder holds a run with other settings, or the loss is not finite.
        DataFormatError: The resume file is damaged or belongs to another architecture.
    """
    fabric = fabric or launch(config)
    if fabric.device.type == "cuda" and fabric.world_size > 1:
        learner = nn.SyncBatchNorm.convert_sync_batchnorm(learner)
    learner = learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(
        learner.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    start = _resume(run, learner, optimizer, config)
    module, wrapped = fabric.setup(learner, optimizer)
    stream = pairs.stream(
        config.batch_size, start=start, rank=fabric.global_rank, world=fabric.world_size
    )
    log = _Log(run, config, start=start, active=fabric.is_global_zero, progress=progress)
    module.train()
    for step in range(start + 1, config.steps + 1):
        batch = next(stream).to(fabric.device)
        _set_rate(optimizer, config, step - 1)
        total, terms = module(**batch.tensors())
        fabric.backward(total)
        wrapped.step()
        wrapped.zero_grad()
        log.step(step, total, terms)
        if probe is not None and config.probe_every and step % config.probe_every == 0:
            module.eval()
            log.record(step, {f"probe/{k}": v for k, v in probe(learner.model).items()})
            module.train()
        if step % config.checkpoint_every == 0 or step == config.steps:
            if fabric.is_global_zero:
                save_weights(run.weights, learner, header=header or {})
                save_state(run.resume, learner, optimizer, step=step, extra=asdict(config))
            fabric.barrier()
    log.close()
    return learner.eval()


class _Log:
    """Metrics file and progress bar of the first process; nothing on the others."""

    def __init__(
        self, run: RunFolder, config: FitConfig, *, start: int, active: bool, progress: bool
    ) -> None:
        self._config, self._since, self._started = config, start, time.monotonic()
        events = run.path / "tensorboard" if config.tensorboard else None
        self._recorder = Recorder(run.metrics, start=start, tensorboard=events) if active else None
        self._bar = tqdm(
            total=config.steps, initial=start, unit="step", disable=not (progress and active)
        )

    def step(self, step: int, total: Tensor, terms: dict[str, Tensor]) -> None:
        self._bar.update()
        if step % self._config.log_every and step != self._config.steps:
            return
        values = {"total": float(total.detach()), **{k: float(v) for k, v in terms.items()}}
        _check_finite(values, step)
        self._bar.set_postfix(loss=f"{values['total']:.4g}")
        rate = (step - self._since) / (time.monotonic() - self._started)
        self.record(step, {**values, "steps_per_second": round(rate, 3)})

    def record(self, step: int, values: dict[str, float]) -> None:
        if self._recorder is not None:
            self._recorder.record(step, values)

    def close(self) -> None:
        self._bar.close()


def _resume(
    run: RunFolder, learner: nn.Module, optimizer: torch.optim.Optimizer, config: FitConfig
) -> int:
    if not run.resume.is_file():
        return 0
    step, extra = load_state(run.resume, learner, optimizer)
    free = {"steps", "log_every", "checkpoint_every", "tensorboard", "accelerator", "devices"}
    settings = asdict(config)
    changed = [k for k in settings if k not in free and settings[k] != extra.get(k)]
    if changed:
        raise ConventionError(
            expected="the settings the run was started with",
            got=", ".join(f"{k}={settings[k]!r} instead of {extra.get(k)!r}" for k in changed),
            argument="config",
            advice="Start a new run folder for other settings.",
        )
    return step


def _set_rate(optimizer: torch.optim.Optimizer, config: FitConfig, step: int) -> None:
    rate = learning_rate(
        step,
        peak=config.learning_rate,
        steps=config.steps,
        warmup=config.warmup_steps,
        schedule=config.schedule,
    )
    for group in optimizer.param_groups:
        group["lr"] = rate


def _check_finite(values: dict[str, float], step: int) -> None:
    wrong = [name for name, value in values.items() if not abs(value) < float("inf")]
    if wrong:
        raise ConventionError(
            expected="finite losses",
            got=f"{', '.join(wrong)} not finite at step {step}",
            argument="learner",
            advice="Lower the learning rate, or train in precision 32.",
        )
