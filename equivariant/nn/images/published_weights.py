"""Weights published by others, loaded without pickle's code and strictly."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from equivariant.errors import DataFormatError
from equivariant.nn.images.encoder import ImageEncoder, ImageEncoderConfig
from equivariant.runs import read_json

# Blocks in the four stages; both end with a rectifier.
_ARCHITECTURES = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}


def load_sie_encoder(path: Path | str, *, arch: str | None = None) -> ImageEncoder:
    """The encoder from a checkpoint of SIE's published code.

    Reads ``final_weights.pth`` (the bare encoder) and ``model.pth`` (a training state whose keys
    start with ``module.backbone.``). The width and the number of blocks are read off the
    weights. Only tensors are unpickled. Weights do not show every architecture: that code also
    trains networks of the same names and shapes without the last rectifier. So ``params.json``,
    which it writes beside them, is read, and an ``arch`` other than "resnet18" or "resnet34" is
    refused. Where that file is missing, say the architecture yourself.

    Args:
        path: The file.
        arch: The name of its architecture in that code; None reads it from ``params.json``.

    Returns:
        The encoder in evaluation mode, topology "sie".

    Raises:
        DataFormatError: The file is missing or damaged, or holds another architecture; names the
            file and the first entries that disagree. Or nothing says which architecture it is.
    """
    path = Path(path)
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, UnpicklingError) as error:
        raise _refusal(path, f"{type(error).__name__}: {error}") from error
    state = loaded.get("model", loaded) if isinstance(loaded, dict) else {}
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    weights = _strip(tensors)
    stem = weights.get("conv1.weight")
    if stem is None or stem.ndim != 4:
        raise _refusal(path, "no stem convolution conv1.weight")
    arch = arch or _arch_beside(path)
    blocks = [_count(weights, f"layer{stage}.") for stage in (1, 2, 3, 4)]
    if min(blocks) < 1:
        raise _refusal(path, f"{blocks} blocks in the four stages")
    if arch not in _ARCHITECTURES:
        raise DataFormatError(
            expected=f"one of the architectures {', '.join(_ARCHITECTURES)}", got=repr(arch),
            argument=f"arch of {path}",
            advice="Networks of other names share its weights' names and shapes, and compute "
            "something else: they cannot be loaded.",
        )  # fmt: skip
    if tuple(blocks) != _ARCHITECTURES[arch]:
        raise _refusal(path, f"{blocks} blocks in the four stages, not those of {arch}")
    config = ImageEncoderConfig(
        width=stem.shape[0],
        blocks=(blocks[0], blocks[1], blocks[2], blocks[3]),
        topology="sie",
        channels=stem.shape[1],
    )
    encoder = config.build()
    expected = encoder.state_dict()
    wrong = sorted(
        name
        for name in expected.keys() | weights.keys()
        if name not in expected
        or name not in weights
        or expected[name].shape != weights[name].shape
    )
    if wrong:
        raise _refusal(path, f"{len(wrong)} entries that disagree, the first {wrong[0]}")
    encoder.load_state_dict(weights)
    return encoder.eval()


def _arch_beside(path: Path) -> str:
    """What ``params.json`` in the folder of a checkpoint says of its architecture."""
    beside = path.parent / "params.json"
    if not beside.is_file():
        raise DataFormatError(
            expected=f"params.json beside {path.name}", got="none", argument=str(path),
            advice="Copy it from the run, or say arch='resnet18' if you know that it is: the "
            "network without the last rectifier has the same weights.",
        )  # fmt: skip
    settings = read_json(beside)
    arch = settings.get("arch") if isinstance(settings, dict) else None
    if not isinstance(arch, str):
        raise DataFormatError(
            expected="a name under 'arch'", got=repr(arch), argument=str(beside),
            advice="Take the file that the published code wrote.",
        )  # fmt: skip
    return arch


def _strip(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop wrappers' prefixes; of a whole training state keep the backbone's entries."""
    names = {name.removeprefix("module."): value for name, value in tensors.items()}
    backbone = {
        k.removeprefix("backbone."): v for k, v in names.items() if k.startswith("backbone.")
    }
    return backbone or names


def _count(weights: dict[str, Tensor], prefix: str) -> int:
    indices = [int(k[len(prefix) :].split(".")[0]) for k in weights if k.startswith(prefix)]
    return 1 + max(indices, default=-1)


def _refusal(path: Path, got: str) -> DataFormatError:
    return DataFormatError(
        expected="a checkpoint of SIE's residual network with basic blocks",
        got=got,
        argument=str(path),
        advice="Pass final_weights.pth or model.pth of that code's run.",
    )
