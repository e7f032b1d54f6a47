"""The linear maps of a model and the representations that they are declared to connect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.actions import Action, Trivial
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group

Representations = Mapping[str, tuple[Action, Action]]
"""Layer names, as ``model.named_modules()`` has them, and the actions on their in- and outputs."""


@dataclass(frozen=True)
class DeclaredMap:
    """One linear map: where its numbers are, and the representations on both sides.

    Args:
        layer: Name of the layer that it belongs to.
        module: The layer; its weights are looked up at every reading, so that it may be moved,
            loaded, reparametrized or copied together with what holds this map.
        reader: Gives the numbers as matrices, shape (maps, outputs, inputs): one for a linear
            layer, one per tap of a convolution's kernel.
        act_in: Action on inputs.
        act_out: Action on outputs.
    """

    layer: str
    module: nn.Module
    reader: Callable[[nn.Module], Tensor]
    act_in: Action
    act_out: Action

    def read(self) -> Tensor:
        """The numbers as they are now, shape (maps, outputs, inputs).

        Raises:
            ConventionError: They have no values (a model on the device "meta"), or are no real
                floating-point numbers.
        """
        found = self.reader(self.module)
        if found.is_meta or not found.is_floating_point() or found.element_size() < 2:
            raise ConventionError(
                expected="weights of real numbers, of half, single or double precision",
                got="none yet (device meta)" if found.is_meta else str(found.dtype),
                argument=self.layer or "model",
                advice="Materialize the model first." if found.is_meta else "Convert the layer.",
            )  # fmt: skip
        return found

    def under(self, group: Group) -> tuple[Action, Action]:
        """Both actions, of another group.

        Raises:
            ConventionError: It is no group, or the actions cannot be said of it.
        """
        if not isinstance(group, Group):
            raise ConventionError(
                expected="a group", got=repr(group), argument="group", advice="For example O3().",
            )  # fmt: skip
        return self.act_in.under(group), self.act_out.under(group)


def declared_maps(model: nn.Module, representations: Representations | None) -> list[DeclaredMap]:
    """All linear maps of a model that have representations, in the model's order.

    A layer that stands in the model under several names counts once, unless it is given different
    representations under them.

    Args:
        model: Any model.
        representations: By layer name; None takes the layers that have attributes ``act_in`` and
            ``act_out`` of their own.

    Raises:
        ConventionError: No layer has representations, a name is none of the model's, or a layer
            is of a kind whose weights cannot be read as matrices.
        ShapeError: A representation does not fit its layer.
    """
    _check_kinds(model, representations)
    modules = dict(model.named_modules(remove_duplicate=False))
    if representations is None:
        representations = {
            name: (module.act_in, module.act_out)
            for name, module in modules.items()
            if isinstance(getattr(module, "act_in", None), Action)
            and isinstance(getattr(module, "act_out", None), Action)
            and _readable(module)
        }
    unknown = sorted(set(representations) - set(modules))
    if unknown or not representations:
        raise ConventionError(
            expected="names of layers of the model, at least one",
            got=", ".join(map(repr, unknown)) or "none", argument="representations",
            advice="Name layers as model.named_modules() does, or give them act_in and act_out.",
        )  # fmt: skip
    found, seen = [], set()
    for name in modules:
        if name in representations:
            act_in, act_out = representations[name]
            key = id(modules[name]), repr(act_in), repr(act_out)
            if key not in seen:
                found += _maps_of(name, modules[name], act_in, act_out)
            seen.add(key)
    return found


def _check_kinds(model: object, representations: Any) -> None:
    """Refuse what is no model, and representations that are no pairs of actions by name."""
    if not isinstance(model, nn.Module):
        raise ConventionError(
            expected="a torch.nn.Module", got=type(model).__name__, argument="model",
            advice="Pass the model whose layers are meant.",
        )  # fmt: skip
    if representations is None:
        return
    named = isinstance(representations, Mapping)
    pairs: list[tuple[Any, Any]] = list(representations.items()) if named else [("", None)]
    for name, pair in pairs:
        fits = isinstance(pair, tuple | list) and len(pair) == 2
        if not fits or not all(isinstance(action, Action) for action in pair):
            raise ConventionError(
                expected="two actions for each layer's name, on its inputs and on its outputs",
                got=f"{type(pair if fits or pair is not None else representations).__name__} "
                f"for {name!r}", argument="representations",
                advice='For example {"0": (vectors, hidden)}.',
            )  # fmt: skip


def _readable(module: nn.Module) -> bool:
    return isinstance(module, nn.MultiheadAttention) or isinstance(
        getattr(module, "weight", None), Tensor
    )


_OTHERWISE = (nn.Embedding, nn.EmbeddingBag, nn.Bilinear)  # whose weights are no such matrices


def _maps_of(name: str, module: nn.Module, act_in: Action, act_out: Action) -> list[DeclaredMap]:
    """The maps of one layer: its weight, and its bias as a map from scalars."""
    if isinstance(module, nn.MultiheadAttention):
        return _attention(name, module, act_in, act_out)
    weight = getattr(module, "weight", None)
    uninitialized = isinstance(weight, nn.UninitializedParameter)
    if not isinstance(weight, Tensor) or isinstance(module, _OTHERWISE) or uninitialized or (
        weight.ndim < 2 or getattr(module, "groups", 1) != 1
    ):  # fmt: skip
        raise ConventionError(
            expected="a linear layer, a convolution without channel groups, attention or a "
            "hypernetwork",
            got=type(module).__name__, argument=name,
            advice="Run the model once so that it has weights." if uninitialized else
            "Declare the layers inside of it.",
        )  # fmt: skip
    if isinstance(module, Action):  # Σ_k c_k(g) W_k z: linear in the features c of the element
        found = [_checked(name, module, _of_hypernetwork, act_in * module.dim, act_out)]
    elif isinstance(module, nn.modules.conv._ConvTransposeNd):
        found = [_checked(name, module, _of_transposed_convolution, act_in, act_out)]
    else:
        found = [_checked(name, module, _of_linear_or_convolution, act_in, act_out)]
    return [*found, *_bias(name, module, _bias_of, act_out)]


def _parameter(module: nn.Module, name: str) -> Tensor:
    found: Tensor = getattr(module, name)
    return found


def _of_hypernetwork(module: nn.Module) -> Tensor:
    weight = _parameter(module, "weight")
    return weight.permute(1, 2, 0).flatten(1)[None]


def _of_transposed_convolution(module: nn.Module) -> Tensor:
    weight = _parameter(module, "weight")
    return weight.flatten(2).permute(2, 1, 0)


def _of_linear_or_convolution(module: nn.Module) -> Tensor:
    weight = _parameter(module, "weight")
    return weight.flatten(2).permute(2, 0, 1) if weight.ndim > 2 else weight[None]


def _bias_of(module: nn.Module) -> Tensor:
    bias = _parameter(module, "bias")
    return bias[None, :, None]


def _attention(
    name: str, module: nn.MultiheadAttention, act_in: Action, act_out: Action
) -> list[DeclaredMap]:
    """Queries, keys and values, whose tokens carry ``act_in``, and what maps them to ``act_out``.

    Inner tokens carry act_in too, so that products of queries and keys are invariant where it is
    orthogonal and its pieces do not cross heads.
    """
    if module.in_proj_weight is None:
        raise ConventionError(
            expected="attention with one width for queries, keys and values",
            got="kdim or vdim of its own", argument=name,
            advice="Declare a layer of your own with nn.Linear for each of the three.",
        )  # fmt: skip
    found = []
    for k in range(3):
        found.append(_checked(name, module, partial(_projection_of, which=k), act_in, act_in))
        if module.in_proj_bias is not None:
            bias = partial(_projection_bias_of, which=k)
            found.append(DeclaredMap(name, module, bias, Trivial(1), act_in))
    out = module.out_proj
    found.append(_checked(name, out, _of_linear_or_convolution, act_in, act_out))
    return [*found, *_bias(name, out, _bias_of, act_out)]


def _projection_of(module: nn.Module, which: int) -> Tensor:
    weight = _parameter(module, "in_proj_weight")
    width = weight.shape[1]
    return weight[which * width : (which + 1) * width][None]


def _projection_bias_of(module: nn.Module, which: int) -> Tensor:
    bias = _parameter(module, "in_proj_bias")
    width = len(bias) // 3
    return bias[which * width : (which + 1) * width, None][None]


def _bias(
    name: str, module: nn.Module, reader: Callable[[nn.Module], Tensor], act_out: Action
) -> list[DeclaredMap]:
    if not isinstance(getattr(module, "bias", None), Tensor):
        return []
    return [DeclaredMap(name, module, reader, Trivial(1), act_out)]


def _checked(
    name: str,
    module: nn.Module,
    reader: Callable[[nn.Module], Tensor],
    act_in: Action,
    act_out: Action,
) -> DeclaredMap:
    with torch.no_grad():
        shape = tuple(reader(module).shape[-2:])
    if shape != (act_out.dim, act_in.dim):
        raise ShapeError(
            expected=f"representations of {shape[1]} inputs and {shape[0]} outputs",
            got=f"{act_in.dim} and {act_out.dim}", argument=name,
            advice="The dims of both actions are the widths of the layer.",
        )  # fmt: skip
    return DeclaredMap(name, module, reader, act_in, act_out)
