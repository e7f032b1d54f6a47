"""Whole models of SIE's published code: encoder, projectors and hypernetwork, both ways."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from datasets3d import ThreeDIEBench
from equivariant.errors import ConventionError, DataFormatError
from equivariant.nn import load_sie_encoder
from equivariant.recipes.sie_3diebench.experiment import SieExperiment
from equivariant.recipes.sie_3diebench.models import (
    ModelConfig,
    build_learner,
    load_trained,
    make_header,
)
from equivariant.runs import RunFolder, write_atomically
from equivariant.training import Learner, save_weights

# Of images in [0, 1], as the published code normalizes them.
CHANNEL_MEAN, CHANNEL_STD = (0.5016, 0.5037, 0.5060), (0.1030, 0.0999, 0.0969)
_MATRIX = "predictor.hypernet.net."
_PARTS = {
    "backbone.": "model.encoder.",
    "projector_inv.": "model.projector.projectors.0.",
    "projector_equi.": "model.projector.projectors.1.",
}
_WEIGHT = "objective.action.parts.1.weight"
_BEFORE = "objective.action.parts.1.before."


@dataclass(frozen=True)
class PublishedModel:
    """A model of the published code as one of ours.

    Args:
        learner: With the checkpoint's weights, in evaluation mode.
        config: Method and network, read off the weights.
    """

    learner: Learner
    config: ModelConfig


def load_published(path: Path | str, *, arch: str | None = None) -> PublishedModel:
    """SIE as its published code trained it: ``model.pth`` with projectors and hypernetwork.

    Only tensors are unpickled. Sizes are read off the weights; heads of that code's online
    evaluator are left out. Quaternions are signed as published, images are to be normalized by
    :data:`CHANNEL_MEAN` and :data:`CHANNEL_STD`.

    Args:
        path: The checkpoint, a dictionary with the weights under "model".
        arch: The name of the encoder's architecture in that code; None reads it from
            ``params.json`` beside the file, see :func:`equivariant.nn.load_sie_encoder`.

    Raises:
        DataFormatError: The file is missing, damaged, or holds something else than SIE with a
            hypernetwork of one generated layer without biases; the first name that is missing,
            unknown or of another shape is said.
    """
    path = Path(path)
    tensors = _tensors(path)
    if not any(name.startswith("projector_equi.") for name in tensors):
        raise _refusal(path, "no projector_equi: an encoder alone, or a method without a split")
    encoder = load_sie_encoder(path, arch=arch)
    if encoder.config.blocks != (2, 2, 2, 2):
        raise _refusal(path, f"an encoder of {encoder.config.blocks} blocks")
    halves = [
        [x for name, x in sorted(tensors.items(), key=_place) if name.startswith(part)
         and name.endswith(".weight") and x.ndim == 2]
        for part in ("projector_inv.", "projector_equi.")
    ]  # fmt: skip
    widths = [tuple(len(x) for x in layers) for layers in halves]
    seen = [layers[0].shape[1] if layers else 0 for layers in halves]
    if widths[0] != widths[1] or seen[0] != seen[1] or not widths[0]:
        raise _refusal(path, f"projectors of widths {widths} on {seen} numbers, not halves alike")
    deep = f"{_MATRIX}4.weight" in tensors
    matrix = tensors.get(f"{_MATRIX}{4 if deep else 0}.weight")
    dim = widths[1][-1]
    known = {4: "rotation", 6: "rotation+color"}
    if matrix is None or matrix.shape[0] != dim * dim or matrix.shape[1] not in known:
        shape = None if matrix is None else tuple(matrix.shape)
        raise _refusal(path, f"a hypernetwork of shape {shape}, not ({dim * dim}, 4 or 6)")
    config = ModelConfig(
        topology="sie", width=encoder.config.width, projector=tuple(2 * w for w in widths[0]),
        elements=known[matrix.shape[1]],  # type: ignore[arg-type]
        predictor="deep" if deep else "hypernetwork",
    )  # fmt: skip
    learner = build_learner(config, classes=1, seed=0)
    state = _ours(tensors, deep=deep)
    _check(path, state, learner.state_dict())
    learner.load_state_dict(state)
    return PublishedModel(learner.eval(), config)


def export_published(run: RunFolder, path: Path) -> None:
    """Write a run's SIE under the names of the published code, as its ``model.pth``.

    ``torch.load(path)["model"]`` has the keys of that code's data-parallel model, ``module.``
    first, without its online evaluator's heads and without optimizer state.

    Args:
        run: A run of method "sie" with topology "sie", conditioned on quaternions, whose
            predictor is a hypernetwork.
        path: Where to; a file that is there is replaced, atomically.

    Raises:
        ConventionError: The run is of another method or network.
        StorageError: The disk is full.
    """
    trained = load_trained(run.weights)
    config = trained.config
    usable = ModelConfig(
        topology="sie", width=config.width, projector=config.projector, gain=config.gain,
        elements=config.elements, predictor=config.predictor, irreps=config.irreps,
        moved_variance=config.moved_variance,
    )  # fmt: skip
    if config != usable or config.predictor == "mlp" or trained.action is None:
        raise ConventionError(
            expected="SIE of topology sie, conditioned on quaternions by a hypernetwork",
            got=f"{config.title}, topology {config.topology}", argument=str(run.path),
            advice="Train with --model.topology sie --model.conditioning quaternion.",
        )  # fmt: skip
    state = {f"model.{name}": value for name, value in trained.model.state_dict().items()}
    state |= {f"objective.action.{k}": v for k, v in trained.action.state_dict().items()}
    found = {f"module.{name}": value for name, value in _theirs(state).items()}
    buffer = io.BytesIO()
    torch.save({"epoch": 0, "model": found}, buffer)
    write_atomically(path, buffer.getvalue())


def published_run(
    data: Path, path: Path, *, runs: Path, name: str = "", arch: str | None = None, size_px: int = 0
) -> RunFolder:
    """A run folder that holds a published checkpoint, for ``evaluate``, ``measure``, ``report``.

    Args:
        data: Views in 3DIEBench's layout.
        path: The checkpoint.
        runs: Under which folder the run is made.
        name: Of the run; "published" if not given.
        arch: As of :func:`load_published`.
        size_px: Resize images to this side; 0 keeps the files' size.

    Raises:
        DataFormatError: The checkpoint or the data are missing, damaged or something else.
    """
    model = load_published(path, arch=arch)
    views = ThreeDIEBench(data, "train")
    experiment = SieExperiment(data=data.resolve(), model=model.config, size_px=size_px)
    run = RunFolder.create(runs, name or "published", config=experiment)
    header = make_header(
        model.config, labels=tuple(views.label_names), channel_mean=CHANNEL_MEAN,
        channel_std=CHANNEL_STD, seed=0, data=views.fingerprint(),
    )  # fmt: skip
    save_weights(run.weights, model.learner, header=header)
    return run


def _tensors(path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, without the wrapper's prefix and the evaluator's heads."""
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, UnpicklingError) as error:
        raise _refusal(path, f"{type(error).__name__}: {error}") from error
    state = loaded.get("model", loaded) if isinstance(loaded, dict) else {}
    plain = {
        name.removeprefix("module."): value
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    return {name: value for name, value in plain.items() if not name.startswith("evaluator.")}


def _place(item: tuple[str, Tensor]) -> tuple[str, int]:
    """Part and number of a layer, for sorting."""
    part, _, rest = item[0].partition(".")
    number = rest.partition(".")[0]
    return part, int(number) if number.isdigit() else -1


def _ours(tensors: dict[str, Tensor], *, deep: bool) -> dict[str, Tensor]:
    """Weights under our names; the matrix of shape (d², K) becomes K matrices."""
    last = f"{_MATRIX}{4 if deep else 0}.weight"
    found = {}
    for name, value in tensors.items():
        prefix = next((p for p in _PARTS if name.startswith(p)), "")
        if name == last:
            dim = round(value.shape[0] ** 0.5)
            found[_WEIGHT] = value.T.reshape(-1, dim, dim).contiguous()
        elif name.startswith(_MATRIX):
            found[_BEFORE + name.removeprefix(_MATRIX)] = value
        else:
            found[_PARTS.get(prefix, prefix) + name.removeprefix(prefix)] = value
    return found


def _theirs(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo :func:`_ours`."""
    deep = any(name.startswith(_BEFORE) for name in state)
    found = {}
    for name, value in state.items():
        theirs, ours = next(((t, o) for t, o in _PARTS.items() if name.startswith(o)), ("", ""))
        if name == _WEIGHT:
            key = f"{_MATRIX}{4 if deep else 0}.weight"
            found[key] = value.reshape(len(value), -1).T.contiguous()
        elif name.startswith(_BEFORE):
            found[_MATRIX + name.removeprefix(_BEFORE)] = value
        else:
            found[theirs + name.removeprefix(ours)] = value.contiguous()
    return found


def _check(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    wrong = sorted(found.keys() ^ expected.keys())
    wrong += [k for k in found.keys() & expected.keys() if found[k].shape != expected[k].shape]
    if wrong:
        raise _refusal(path, f"{len(wrong)} entries that disagree, the first {wrong[0]}")


def _refusal(path: Path, got: str) -> DataFormatError:
    return DataFormatError(
        expected="a checkpoint of SIE's published code: encoder, two projectors, a hypernetwork",
        got=got, argument=str(path),
        advice="Pass model.pth of a run of --experience SIE with its default predictor; for an "
        "encoder alone there is equivariant.nn.load_sie_encoder.",
    )  # fmt: skip
