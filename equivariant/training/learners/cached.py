"""Contrastive steps on batches whose activations do not fit into memory: exact, by chunks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from equivariant.errors import ConventionError, ShapeError
from equivariant.tree import detached, rebuild, tensors


@dataclass(frozen=True)
class CachedStep:
    """What a step computed; the gradients stand in the parameters.

    Args:
        total: Loss, detached, shape ().
        terms: What the loss returned beside it, detached; empty if nothing.
        embeddings: One tree per view, detached, all rows.
    """

    total: Tensor
    terms: Mapping[str, Tensor]
    embeddings: tuple[Any, ...]


@dataclass(frozen=True)
class _Job:
    """One chunk of one view."""

    encoder: nn.Module
    view: int
    rows: slice
    last: bool  # of this encoder


def cached_step(
    encoder: nn.Module | Sequence[nn.Module],
    inputs: Sequence[Any] | Mapping[str, Any] | Tensor,
    loss: Callable[..., Any],
    *,
    chunk: int,
    allow_batch_norm: bool = False,
    fabric: Fabric | None = None,
    check: bool = True,
) -> CachedStep:
    """Forward and backward of a loss that needs all embeddings at once, chunk by chunk.

        1. z_c = f(x_c) for every chunk c, without graph, the random state before each noted
        2. L(z) and g = ∂L/∂z, which also reaches parameters of the loss, such as a temperature
        3. for every c: the random state set back, z_c = f(x_c) with graph, backward of ⟨z_c, g_c⟩

    Gradients are added to ``.grad`` and equal those of encoding the same chunks with graph and
    calling ``loss(...).backward()``, also under dropout; the activations of one chunk are alive
    at a time, for one more forward pass. Zeroing gradients and the optimizer's step stay with
    the caller; the global random state ends as the plain step leaves it. Called under autocast,
    both passes see it and backward does not.

    What is replayed is PyTorch's global state of the CPU and of the devices in use: an encoder
    that draws from a generator of its own, from NumPy, or that counts its calls is refused
    when its embeddings differ the second time. On several processes gradients are synchronized
    in the backward of each encoder's last chunk; parameters of the loss need a data-parallel
    wrapper of their own, and encoders with buffers the same number of chunks everywhere.

    Args:
        encoder: One for all views, or as many as views. Those without trainable parameters are
            not encoded again.
        inputs: Views: a sequence of trees (tensors, or tuples, lists and dictionaries of them),
            each passed to its encoder as one argument. One tensor or dictionary is one view. The
            first axis of every tensor of a view is cut; what is no tensor goes to each chunk.
        loss: Called with one tree of embeddings per view, all rows; returns a scalar, or a
            scalar and a mapping of terms to report.
        chunk: Rows encoded at a time, at least 1.
        allow_batch_norm: Accept normalization by batch statistics, which are then those of a
            chunk: another function than that of the whole batch. Running statistics move once
            per chunk.
        fabric: Runs backward and skips synchronization; without it DistributedDataParallel's
            own ``no_sync`` is used where the encoder has one.
        check: Compare the second embeddings with the first.

    Returns:
        The loss, its terms, and the embeddings.

    Raises:
        ShapeError: A view without rows or with tensors of different lengths, embeddings that
            are not one per row, or a loss that is not a scalar.
        ConventionError: ``chunk`` below 1; more or fewer encoders than views; inputs that ask
            for a gradient; batch normalization in training; a loss without a graph; an
            encoder that is not the same function twice; a loss scaler.

    Example:
        >>> encoder, tau = nn.Linear(3, 2), nn.Parameter(torch.tensor(1.0))
        >>> a, b = torch.randn(2, 10, 3)
        >>> step = cached_step(encoder, (a, b), lambda u, v: ((u - v) ** 2).sum() / tau, chunk=4)
        >>> bool(encoder.weight.grad.abs().sum() > 0), bool(torch.isclose(tau.grad, -step.total))
        (True, True)

    Source: the idea is Gao et al. 2021.
    """
    views = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    encoders = [encoder] * len(views) if isinstance(encoder, nn.Module) else list(encoder)
    _check_arguments(encoders, views, chunk, fabric)
    norms = _batch_norms(encoders, allow=allow_batch_norm)
    jobs = _jobs(encoders, views, chunk)
    devices = _devices(encoders, views)
    states, chunks = [], []
    with torch.no_grad():
        for job in jobs:
            states.append([_random_state(device) for device in devices])
            chunks.append(_encode(job, views))
    # Older PyTorch keeps weights there that were cast without graph (its issue 112583).
    torch.clear_autocast_cache()
    embeddings = _join(jobs, chunks, encoders)
    total, terms = _loss(loss, embeddings)
    _backward(total, fabric, devices)
    with _kept(devices, norms):
        for job, state, before in zip(jobs, states, chunks, strict=True):
            if _trainable(job.encoder):
                for device, numbers in zip(devices, state, strict=True):
                    _set_random_state(device, numbers)
                gradients = {
                    name: (torch.zeros_like(z) if z.grad is None else z.grad)[job.rows]
                    for name, z in tensors(embeddings[job.view]).items()
                }
                _again(job, views, before if check else None, gradients, fabric, devices)
    return CachedStep(
        total=total.detach(), terms=terms, embeddings=tuple(detached(z) for z in embeddings)
    )


def _again(
    job: _Job,
    views: list[Any],
    before: Any,
    gradients: dict[str, Tensor],
    fabric: Fabric | None,
    devices: list[torch.device],
) -> None:
    """Encode one chunk with graph and send its gradients back."""
    with _unsynchronized(job, fabric):
        after = tensors(_encode(job, views))
        if before is not None:
            _check_same(tensors(before), after)
        products = [
            (z * gradients[name].conj()).sum().real for name, z in after.items() if z.requires_grad
        ]
        if products:
            _backward(torch.stack([p.to(products[0]) for p in products]).sum(), fabric, devices)
        torch.clear_autocast_cache()


def _jobs(encoders: list[nn.Module], views: list[Any], chunk: int) -> list[_Job]:
    jobs = []
    for number, (encoder, view) in enumerate(zip(encoders, views, strict=True)):
        rows = _rows(view, f"inputs[{number}]")
        for start in range(0, rows, chunk):
            jobs.append(_Job(encoder, number, slice(start, min(start + chunk, rows)), False))
    last = {id(job.encoder): index for index, job in enumerate(jobs)}
    return [
        _Job(job.encoder, job.view, job.rows, last[id(job.encoder)] == index)
        for index, job in enumerate(jobs)
    ]


def _encode(job: _Job, views: list[Any]) -> Any:
    cut = rebuild(views[job.view], lambda _, x: x[job.rows] if isinstance(x, Tensor) else x)
    z = job.encoder(cut)
    number = job.rows.stop - job.rows.start
    wrong = {
        name: tuple(leaf.shape) for name, leaf in tensors(z).items() if leaf.shape[:1] != (number,)
    }
    if wrong or not tensors(z):
        raise ShapeError(
            expected=f"embeddings whose first axis is the {number} rows of the chunk",
            got=str(wrong or type(z).__name__),
            argument="encoder",
            advice="Batch statistics or pooled outputs belong into the loss.",
        )
    return z


def _join(jobs: list[_Job], chunks: list[Any], encoders: list[nn.Module]) -> list[Any]:
    """All rows of each view, as leaves that collect a gradient where one is used."""
    joined = []
    for view, encoder in enumerate(encoders):
        parts = [z for job, z in zip(jobs, chunks, strict=True) if job.view == view]
        leaves = [tensors(z) for z in parts]
        trainable = _trainable(encoder)

        def join(
            name: str,
            leaf: Any,
            leaves: list[dict[str, Tensor]] = leaves,
            trainable: bool = trainable,
        ) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            whole = torch.cat([part[name] for part in leaves])
            return whole.requires_grad_(trainable and _differentiable(whole))

        joined.append(rebuild(parts[0], join))
    return joined


def _loss(loss: Callable[..., Any], embeddings: list[Any]) -> tuple[Tensor, Mapping[str, Tensor]]:
    value = loss(*embeddings)
    total, terms = value if isinstance(value, tuple) else (value, {})
    if total.ndim:
        raise ShapeError(
            expected="a scalar",
            got=f"shape {tuple(total.shape)}",
            argument="loss",
            advice="Reduce it, by the mean over anchors for example.",
        )
    if not total.requires_grad:
        raise ConventionError(
            expected="a loss with a graph",
            got="one that depends on no trainable embedding and no parameter",
            argument="loss",
            advice="Compute it from its arguments, with gradients enabled.",
        )
    return total, {name: term.detach() for name, term in terms.items()}


def _backward(total: Tensor, fabric: Fabric | None, devices: list[torch.device]) -> None:
    with ExitStack() as stack:
        for kind in {device.type for device in devices}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if fabric is None:
            total.backward()
        else:
            fabric.backward(total)


def _unsynchronized(job: _Job, fabric: Fabric | None) -> AbstractContextManager[Any]:
    if job.last:
        return nullcontext()
    if fabric is not None:
        return fabric.no_backward_sync(job.encoder)  # type: ignore[arg-type]
    skip: Callable[[], AbstractContextManager[Any]] = getattr(job.encoder, "no_sync", nullcontext)
    return skip()


@contextmanager
def _kept(devices: list[torch.device], norms: list[nn.Module]) -> Iterator[None]:
    """Random states and running statistics are afterwards what they were before."""
    states = [_random_state(device) for device in devices]
    buffers = [b for norm in norms for b in norm.buffers(recurse=False)]
    values = [b.clone() for b in buffers]
    try:
        yield
    finally:
        for device, state in zip(devices, states, strict=True):
            _set_random_state(device, state)
        with torch.no_grad():
            for buffer, value in zip(buffers, values, strict=True):
                buffer.copy_(value)


def _random_state(device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.get_rng_state()
    state: Tensor = getattr(torch, device.type).get_rng_state(device)
    return state


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        getattr(torch, device.type).set_rng_state(state, device)


def _devices(encoders: list[nn.Module], views: list[Any]) -> list[torch.device]:
    """The CPU, and wherever encoders and inputs are."""
    found = {x.device for view in views for x in tensors(view).values()}
    for encoder in encoders:
        found |= {x.device for x in itertools.chain(encoder.parameters(), encoder.buffers())}
    others = sorted((d for d in found if d.type not in ("cpu", "meta")), key=str)
    return [torch.device("cpu"), *others]


def _trainable(encoder: nn.Module) -> bool:
    return any(p.requires_grad for p in encoder.parameters())


def _differentiable(z: Tensor) -> bool:
    return z.is_floating_point() or z.is_complex()


def _rows(view: Any, argument: str) -> int:
    lengths = {x.shape[0] if x.ndim else 0 for x in tensors(view).values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ShapeError(
            expected="tensors with one length of their first axis, at least 1",
            got=f"lengths {sorted(lengths)}",
            argument=argument,
            advice="Every tensor of a view is cut along its first axis.",
        )
    return lengths.pop()


def _check_arguments(
    encoders: list[nn.Module], views: list[Any], chunk: int, fabric: Fabric | None
) -> None:
    if chunk < 1 or len(encoders) != len(views) or not views:
        raise ConventionError(
            expected="chunk >= 1, at least one view, one encoder or as many as views",
            got=f"chunk={chunk}, {len(encoders)} encoders, {len(views)} views",
            argument="chunk" if chunk < 1 else "encoder",
            advice="A tuple or list of inputs holds one entry per view.",
        )
    if any(x.requires_grad for view in views for x in tensors(view).values()):
        raise ConventionError(
            expected="inputs without gradient",
            got="an input that requires one",
            argument="inputs",
            advice="Put what computes the inputs into the encoder, or detach them.",
        )
    if fabric is not None and getattr(fabric.strategy.precision, "scaler", None) is not None:
        raise ConventionError(
            expected="a precision without loss scaling",
            got=str(getattr(fabric.strategy.precision, "precision", "a loss scaler")),
            argument="fabric",
            advice='Use "bf16-mixed": backward runs twice and would scale twice.',
        )


def _batch_norms(encoders: list[nn.Module], *, allow: bool) -> list[nn.Module]:
    """Layers in training whose result or state depends on the rest of the batch."""
    found = {
        f"encoder {number}: {name or type(module).__name__}": module
        for number, encoder in enumerate(encoders)
        for name, module in encoder.named_modules()
        if isinstance(module, _NormBase)
        and module.training
        and (isinstance(module, _BatchNorm) or module.track_running_stats)
    }
    if found and not allow:
        raise ConventionError(
            expected="encoders without batch statistics",
            got=f"batch normalization in training at {', '.join(list(found)[:3])}",
            argument="encoder",
            advice="Statistics would be those of a chunk: use GroupNorm, put the layers in "
            "evaluation mode, or pass allow_batch_norm=True.",
        )
    return list({id(module): module for module in found.values()}.values())


def _check_same(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    for name, z in before.items():
        if not _differentiable(z):
            continue
        change = (after[name].detach() - z).abs().max()
        bound = torch.finfo(z.dtype).eps ** 0.5 * (1 + z.abs().max())
        if bool(change > bound):
            raise ConventionError(
                expected="an encoder that returns the same embeddings twice",
                got=f"a difference of {float(change):.2g}",
                argument="encoder",
                advice="Draw from PyTorch's global random state, which is replayed, and keep no "
                "state between calls.",
            )
