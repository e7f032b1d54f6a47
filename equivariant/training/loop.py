"""The training loop: one page, any device, several processes, exact resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from equivariant.pairs import PairBatch
from equivariant.runs import RunFolder
from equivariant.training.accumulation import backward, check_accumulation
from equivariant.training.averaging import WeightAverage
from equivariant.training.budget import Budget
from equivariant.training.config import FitConfig
from equivariant.training.launch import launch
from equivariant.training.learners.pairs import Learner
from equivariant.training.optimizers import MakeOptimizer, make_optimizer
from equivariant.training.resume.agreement import Checkpoints
from equivariant.training.resume.interruption import StopRequest, TrainingStopped, stop_on_signals
from equivariant.training.resume.randomness import own_randomness, seed_step, step_generator
from equivariant.training.run_log import RunLog
from equivariant.training.schedule import learning_rate


@runtime_checkable
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
    seed: int = 0,
    identity: Mapping[str, Any] | None = None,
    optimizer: MakeOptimizer | None = None,
) -> Learner:
    """Train, log, checkpoint; go on where an interrupted run of the same folder stopped.

    A run that was stopped and started again has, on a CPU, bit for bit the weights of one that
    was not: batches and random numbers depend on the step alone (dropout and streams that draw
    from the global generators of PyTorch, NumPy or Python, terms that draw from the generator
    of their objective), and the optimizer's state is saved with the weights. Embeddings are
    gathered over processes by the objective, so several processes have the gradient of one with
    the whole batch; batch normalization is synchronized on GPUs (on CPUs each process normalizes
    its own share, which PyTorch does not offer otherwise).

    SIGINT and SIGTERM end the run after the step in progress, with a checkpoint. Every
    checkpoint is checked to be finite before it is written; the one before is kept as well.

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
        seed: Of what is drawn in the steps.
        identity: What determines the weights besides all that: a fingerprint of the data, say;
            JSON. It is compared when the run goes on, as are ``config``, ``header`` and ``seed``.
        optimizer: Makes an optimizer of your own from groups of parameters, instead of the one
            that ``config`` names: ``lambda groups: torch.optim.RMSprop(groups)``. Its learning
            rate is ``config``'s, its state must be tensors, and its class is compared when the
            run goes on.

    Returns:
        The learner, trained, in evaluation mode.

    Raises:
        ConventionError: The folder holds a run with other settings; a loss, a gradient or a
            weight is not finite; or the learner's loss cannot be accumulated.
        DataFormatError: The resume file is damaged or belongs to another architecture.
        StorageError: The disk is full; the last checkpoint is whole.
        TrainingStopped: A signal ended the run; a KeyboardInterrupt.
    """
    check_accumulation(learner, config)
    fabric = fabric or launch(config)
    if fabric.device.type == "cuda" and fabric.world_size > 1:
        learner = nn.SyncBatchNorm.convert_sync_batchnorm(learner)
    learner = learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    descent = make_optimizer(learner, config, optimizer)
    told = {"optimizer": type(descent).__qualname__} if optimizer else {}
    average = WeightAverage(learner, decay=config.average_decay) if config.average_decay else None
    known = {**(identity or {}), **told}
    kept = Checkpoints(run, learner, average, descent, config, header or {}, seed, known)
    if fabric.is_global_zero:
        kept.remove_temporary()
    start, seconds = kept.restore()
    module, wrapped = fabric.setup(learner, descent)
    if average is not None:
        average.to(fabric.device)
    budget = Budget(config, start=start, seconds=seconds, fabric=fabric)
    log = RunLog(run, config, budget, active=fabric.is_global_zero, progress=progress)
    share = {"rank": fabric.global_rank, "world": fabric.world_size}
    stream = batches.stream(config.batch_size, start=start, **share)
    module.train()
    try:
        with own_randomness(fabric.device), stop_on_signals() as request:
            step = start
            while not budget.over(step):
                step += 1
                batch = _drawn(stream, seed, step, learner, fabric)
                _set_rate(descent, config, step - 1, budget.progress(step - 1))
                total, terms = backward(module, batch.tensors(), config, fabric)
                kept.check_gradients(step)
                _descend(module, wrapped, config, fabric)
                if average is not None:
                    average.update(learner)
                last, stopped = budget.over(step), _stopped(request, fabric)
                log.step(step, total, terms, last=last, good=kept.step)
                if probe is not None and config.probe_every and step % config.probe_every == 0:
                    kept.check(step)
                    log.record(step, _probed(probe, module, learner, average))
                if step % config.checkpoint_every == 0 or last or stopped:
                    kept.save(step, seconds=budget.spent(), active=fabric.is_global_zero)
                    fabric.barrier()
                if stopped and not last:
                    raise TrainingStopped(step, run.path, stopped)
    finally:
        learner.generator = None
        log.close()
    if average is not None:
        average.apply_to(learner)
    return learner.eval()


def _drawn(
    stream: Iterator[Batch], seed: int, step: int, learner: Learner, fabric: Fabric
) -> Batch:
    """The batch of a step; afterwards all generators are this process's of this step."""
    seed_step(seed, step, -1)  # for streams: the same on all processes
    batch = next(stream).to(fabric.device)
    seed_step(seed, step, fabric.global_rank)
    learner.generator = step_generator(seed, step)
    return batch


def _descend(module: Any, optimizer: Any, config: FitConfig, fabric: Fabric) -> None:
    """One step of the optimizer along gradients that are clipped where that is asked for."""
    if config.gradient_clip:
        fabric.clip_gradients(module, optimizer, max_norm=config.gradient_clip)
    optimizer.step()
    optimizer.zero_grad()


def _stopped(request: StopRequest, fabric: Fabric) -> int:
    """The signal that asked any of the processes to stop; 0 for none."""
    if fabric.world_size == 1:
        return request.number
    asked = fabric.all_gather(torch.tensor(request.number, device=fabric.device))
    return int(asked.max())  # type: ignore[union-attr]


def _probed(
    probe: Callable[[nn.Module], dict[str, float]],
    module: nn.Module,
    learner: Learner,
    average: WeightAverage | None,
) -> dict[str, float]:
    module.eval()
    with average.applied(learner) if average is not None else nullcontext():
        found = probe(learner.model)
    module.train()
    return {f"probe/{k}": v for k, v in found.items()}


def _set_rate(
    optimizer: torch.optim.Optimizer, config: FitConfig, step: int, progress: float | None
) -> None:
    rate = learning_rate(
        step,
        peak=config.learning_rate,
        steps=config.steps,
        warmup=config.warmup_steps,
        schedule=config.schedule,
        progress=progress,
    )
    for group in optimizer.param_groups:
        group["lr"] = rate
