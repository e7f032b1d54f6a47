"""The training loop: one page, any device, several processes, exact resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from equivariant.errors import ConventionError
from equivariant.pairs import PairBatch
from equivariant.runs import RunFolder
from equivariant.training.averaging import WeightAverage
from equivariant.training.checkpoint import load_state, save_state, save_weights
from equivariant.training.config import FitConfig
from equivariant.training.learners import Learner
from equivariant.training.processes import launch
from equivariant.training.recorder import Recorder
from equivariant.training.schedule import learning_rate


class Batch(Protocol):
    """What a step learns from."""

    def to(self, device: torch.device | str | None = None) -> Batch:
        """The same batch elsewhere."""

    def tensors(self) -> dict[str, Tensor]:
        """What is known, by name: the arguments of a learner."""


@runtime_checkable
class BatchStream(Protocol):
    """Where batches come from: the batch of a step is a function of the step alone."""

    def stream(
        self, batch_size: int, *, start: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[Batch]:
        """Batches of steps start, start + 1, ...; process ``rank`` of ``world`` gets its share.

        The shares of all processes together are the batch that one process would get.
        """


@runtime_checkable
class PairStream(BatchStream, Protocol):
    """A stream of pairs of views."""

    def stream(
        self, batch_size: int, *, start: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[PairBatch]:
        """As :meth:`BatchStream.stream`."""


def fit(
    learner: Learner,
    batches: BatchStream,
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
        batches: What it learns from.
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
        learner.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay,
        amsgrad=config.amsgrad,
    )  # fmt: skip
    decay = config.average_decay
    average = WeightAverage(learner, decay=decay) if decay else None
    start, seconds = _resume(run, _saved(learner, average), optimizer, config)
    module, wrapped = fabric.setup(learner, optimizer)
    if average is not None:
        average.to(fabric.device)
    stream = batches.stream(
        config.batch_size, start=start, rank=fabric.global_rank, world=fabric.world_size
    )
    budget = _Budget(config, start=start, seconds=seconds, fabric=fabric)
    log = _Log(run, config, budget, active=fabric.is_global_zero, progress=progress)
    module.train()
    step = start
    while not budget.over(step):
        step += 1
        batch = next(stream).to(fabric.device)
        _set_rate(optimizer, config, step - 1, budget)
        total, terms = module(**batch.tensors())
        fabric.backward(total)
        if config.gradient_clip:
            fabric.clip_gradients(module, wrapped, max_norm=config.gradient_clip)
        wrapped.step()
        wrapped.zero_grad()
        if average is not None:
            average.update(learner)
        last = budget.over(step)
        log.step(step, total, terms, last=last)
        if probe is not None and config.probe_every and step % config.probe_every == 0:
            module.eval()
            with average.applied(learner) if average is not None else nullcontext():
                found = probe(learner.model)
            log.record(step, {f"probe/{k}": v for k, v in found.items()})
            module.train()
        if step % config.checkpoint_every == 0 or last:
            if fabric.is_global_zero:
                with average.applied(learner) if average is not None else nullcontext():
                    save_weights(run.weights, learner, header=header or {})
                extra = asdict(config) | ({"seconds": budget.spent()} if config.minutes else {})
                saved = _saved(learner, average)
                save_state(run.resume, saved, optimizer, step=step, extra=extra)
            fabric.barrier()
    log.close()
    if average is not None:
        average.apply_to(learner)
    return learner.eval()


def _saved(learner: nn.Module, average: WeightAverage | None) -> nn.Module:
    """What a resume file holds."""
    return learner if average is None else nn.ModuleDict({"learner": learner, "average": average})


class _Budget:
    """When a run is over: at its last step, or when its time is used up."""

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
        """Whether this step was the last; all processes go by the first one's clock."""
        if self.config.steps and step >= self.config.steps:
            return True
        if not self.config.minutes:
            return False
        if step not in self._answers:
            late = self.spent() >= 60 * self.config.minutes
            self._answers = {step: bool(self.fabric.broadcast(late))}
        return self._answers[step]


class _Log:
    """Metrics file and progress bar of the first process; nothing on the others."""

    def __init__(
        self,
        run: RunFolder,
        config: FitConfig,
        budget: _Budget,
        *,
        active: bool,
        progress: bool,
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

    def step(self, step: int, total: Tensor, terms: dict[str, Tensor], *, last: bool) -> None:
        self._bar.update(self._percent(step) - self._bar.n if self._config.minutes else 1)
        if step % self._config.log_every and not last:
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

    def _percent(self, step: int) -> float:
        return round(100 * (self._budget.progress(step) or 0.0), 1)


def _resume(
    run: RunFolder, saved: nn.Module, optimizer: torch.optim.Optimizer, config: FitConfig
) -> tuple[int, float]:
    """Steps and seconds done."""
    if not run.resume.is_file():
        return 0, 0.0
    step, extra = load_state(run.resume, saved, optimizer)
    free = {
        "steps", "minutes", "log_every", "checkpoint_every", "tensorboard", "accelerator",
        "devices",
    }  # fmt: skip
    settings, usual = asdict(config), asdict(FitConfig())
    before = {name: extra.get(name, usual[name]) for name in settings}
    changed = [k for k in settings if k not in free and settings[k] != before[k]]
    if changed:
        raise ConventionError(
            expected="the settings the run was started with",
            got=", ".join(f"{k}={settings[k]!r} instead of {before[k]!r}" for k in changed),
            argument="config",
            advice="Start a new run folder for other settings.",
        )
    return step, float(extra.get("seconds", 0.0))


def _set_rate(
    optimizer: torch.optim.Optimizer, config: FitConfig, step: int, budget: _Budget
) -> None:
    rate = learning_rate(
        step,
        peak=config.learning_rate,
        steps=config.steps,
        warmup=config.warmup_steps,
        schedule=config.schedule,
        progress=budget.progress(step),
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
