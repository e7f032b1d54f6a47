"""Weights and training state in safetensors files with a JSON header; no pickle anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from equivariant.errors import DataFormatError
from equivariant.runs import write_atomically

FORMAT = 1


def save_weights(
    path: Path, module: nn.Module, *, header: dict[str, Any], keep: Path | None = None
) -> None:
    """Write a module's parameters and buffers, atomically.

    Args:
        path: Where to.
        module: What to save.
        header: Whatever is needed to build the module again; JSON.
        keep: Where to keep the file that was there before; None keeps none.

    Raises:
        StorageError: The disk is full; the file that was there is as it was.
    """
    tensors = {name: _contiguous(value) for name, value in module.state_dict().items()}
    _write(path, tensors, {"header": header}, keep)


def load_weights(path: Path, module: nn.Module) -> dict[str, Any]:
    """Load weights strictly: every name and every shape must agree.

    Args:
        path: A file that :func:`save_weights` wrote.
        module: Receives the weights; untouched when anything disagrees.

    Returns:
        The header.

    Raises:
        DataFormatError: The file is missing, damaged, or of another architecture; names the file
            and the first entries that disagree.
    """
    tensors, info = _read(path)
    check_same_architecture(path, tensors, module.state_dict())
    module.load_state_dict(tensors)
    header: dict[str, Any] = info["header"]
    return header


def read_header(path: Path) -> dict[str, Any]:
    """Only the header of a file that :func:`save_weights` wrote.

    Raises:
        DataFormatError: The file is missing or damaged.
    """
    header: dict[str, Any] = _read(path)[1]["header"]
    return header


def save_state(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    step: int,
    extra: dict[str, Any],
    keep: Path | None = None,
) -> None:
    """Write everything a run needs to go on, atomically.

    Args:
        path: Where to.
        module: Learner, with buffers.
        optimizer: Its optimizer; the state of each parameter must be tensors.
        step: Steps done.
        extra: Settings to compare on resuming, and a loss scaler's state; JSON.
        keep: Where to keep the file that was there before; None keeps none.

    Raises:
        StorageError: The disk is full; the file that was there is as it was.
    """
    tensors = {f"module/{k}": _contiguous(v) for k, v in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"optimizer/{index}/{name}"] = _contiguous(torch.as_tensor(value))
    _write(path, tensors, {"step": step, "extra": extra}, keep)


def load_state(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Any]]:
    """Undo :func:`save_state`.

    Returns:
        Steps done, and what was saved as ``extra``.

    Raises:
        DataFormatError: The file is damaged or belongs to another architecture.
    """
    tensors, info = _read(path)
    weights = {k.removeprefix("module/"): v for k, v in tensors.items() if k.startswith("module/")}
    check_same_architecture(path, weights, module.state_dict())
    module.load_state_dict(weights)
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/")
            states.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
    return int(info["step"]), info["extra"]


def read_state(path: Path) -> tuple[int, dict[str, Any]]:
    """Steps done, and what was saved as ``extra``, without the tensors.

    Raises:
        DataFormatError: The file is damaged, or no resume file.
    """
    info = _read(path)[1]
    if "step" not in info or "extra" not in info:
        raise DataFormatError(
            expected="the state of a run", got=f"a file of {sorted(info)}", argument=str(path),
            advice="Weights alone do not say how to go on.",
        )  # fmt: skip
    return int(info["step"]), info["extra"]


def check_same_architecture(
    path: Path, tensors: dict[str, Tensor], expected: dict[str, Tensor]
) -> None:
    """Raise DataFormatError naming the file unless names and shapes agree."""
    wrong = [
        f"{name} is {tuple(tensors[name].shape)} in the file, {tuple(expected[name].shape)} here"
        for name in sorted(tensors.keys() & expected.keys())
        if tensors[name].shape != expected[name].shape
    ]
    wrong += [f"{name} is missing" for name in sorted(expected.keys() - tensors.keys())]
    wrong += [f"{name} is unknown here" for name in sorted(tensors.keys() - expected.keys())]
    if wrong:
        raise DataFormatError(
            expected="weights of this architecture",
            got="; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""),
            argument=str(path),
            advice="Build the model with the settings in the file's header.",
        )


def _contiguous(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True).contiguous()


def _write(path: Path, tensors: dict[str, Tensor], info: dict[str, Any], keep: Path | None) -> None:
    # One key: the order of several in the file is not defined, and bytes should be.
    metadata = {"info": json.dumps({"format": FORMAT, **info}, sort_keys=True)}
    write_atomically(path, safetensors.torch.save(tensors, metadata=metadata), keep=keep)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(metadata["info"])
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise DataFormatError(
            expected="a safetensors file written by this package",
            got=f"{type(error).__name__}: {error}",
            argument=str(path),
            advice="It is missing, cut short, or another program's. Training keeps the one before "
            "as previous.safetensors or resume_previous.safetensors.",
        ) from error
