"""What averages over the group say of a model: the share of its loss, and its layers' irreps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from equivariant.actions import Action
from equivariant.errors import ConventionError, EquivariantError
from equivariant.groups import SO3, Group
from equivariant.measure import IrrepSpectrum, LossShare, irrep_spectra, symmetry_loss_share
from equivariant.tree import call
from equivariant.workflows.measuring.foreign_model import load_inputs

LARGEST_SUMS = 2**25  # numbers that are summed up for one layer, 256 MB
_NO_LAYERS = (Action, nn.ParameterList, nn.ParameterDict)


def loss_share(
    f: Callable[..., Any],
    x: Tensor,
    targets: Path,
    *,
    act_in: Action,
    act_out: Action,
    samples: int,
) -> LossShare:
    """The share of the squared error that broken symmetry costs, against targets of a file.

    Args:
        f: The model.
        x: Inputs, shape (items, ...).
        targets: .npy, .npz or .safetensors with one array, rows in the order of the inputs.
        act_in: How inputs move.
        act_out: How outputs move.
        samples: Elements per item, at least 2.

    Raises:
        DataFormatError: The file cannot be read.
        ConventionError: It holds several arrays, or the group is not compact.
        ShapeError: There are not as many targets as inputs, or they are not shaped like outputs.
    """
    arrays = load_inputs(targets, items=len(x), dtype=x.dtype, device=str(x.device))
    if len(arrays) != 1:
        raise ConventionError(
            expected="a file with one array of targets", got=", ".join(sorted(arrays)),
            argument="targets", advice="Save it alone with numpy.save.",
        )  # fmt: skip
    (y,) = arrays.values()
    return symmetry_loss_share(
        lambda given: call(f, given), x, y.to(x.dtype), act_in=act_in, act_out=act_out,
        samples=samples,
    )  # fmt: skip


def has_spectrum(group: Group | None) -> bool:
    """Whether characters are known: of rotations of space, and of compact groups of one angle."""
    return group is not None and (group == SO3() or (group.compact and group.dim == 1))


def layer_spectra(
    f: Callable[..., Any], x: Tensor, action: Action, *, degrees: int
) -> tuple[dict[str, IrrepSpectrum], list[str]]:
    """Irrep spectra of the output and, of a module, of every layer that has no layers inside.

    Args:
        f: The model.
        x: Inputs, shape (items, ...), at least 2.
        action: How inputs move, see :func:`equivariant.measure.irrep_spectrum`.
        degrees: Largest degree that is told apart.

    Returns:
        Spectra by path of the layer, "output" last; and why layers were left out.
    """
    layers, notes = _layers(f, x, degrees)
    found = {}
    if layers:
        found = irrep_spectra(lambda given: call(f, given), x, action, degrees=degrees,
                              layers=layers)  # fmt: skip
    try:
        found |= {
            "output": irrep_spectra(lambda given: call(f, given), x, action, degrees=degrees)[""]
        }
    except EquivariantError as error:
        notes.append(f"Spectrum of the output: {error}")
    return found, notes


def _layers(
    f: Callable[..., Any], x: Tensor, degrees: int
) -> tuple[dict[str, nn.Module], list[str]]:
    """Layers that run and give one row per item, and notes about the others."""
    if not isinstance(f, nn.Module):
        return {}, ["Spectra of layers: the model is a function, whose layers are not known."]
    leaves = dict(_innermost(f))
    shapes: dict[str, tuple[int, ...]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            is_row = isinstance(output, Tensor) and output.ndim and output.is_floating_point()
            shapes[name] = tuple(output.shape) if is_row else ()

        return hook

    handles = [m.register_forward_hook(keep(name)) for name, m in leaves.items()]
    try:
        call(f, x)
    finally:
        for handle in handles:
            handle.remove()
    entries = sum((2 * degree + 1) ** 2 for degree in range(degrees + 1))
    chosen, notes, others = {}, [], []
    for name, module in leaves.items():
        shape = shapes.get(name, ())
        numbers = math.prod(shape)
        if not shape or shape[0] != len(x):
            others.append(name)
        elif numbers * entries > LARGEST_SUMS:
            notes.append(f"Spectrum of {name}: {numbers} features are too many; take fewer items.")
        else:
            chosen[name] = module
    if others:
        notes.append(f"Spectra of {', '.join(others)}: no features with a row per input.")
    return chosen, notes


def _innermost(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Layers that hold no other layers, by path; actions and lists of weights are no layers."""
    for name, child in module.named_children():
        if isinstance(child, _NO_LAYERS):
            continue
        inner = f"{path}{name}"
        if all(isinstance(one, _NO_LAYERS) for one in child.children()):
            yield inner, child
        else:
            yield from _innermost(child, f"{inner}.")
