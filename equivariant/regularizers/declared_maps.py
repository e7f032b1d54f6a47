"""The linear maps of a model and the representations that they are declared to connect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

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
        read: Gives the numbers as matrices, shape (maps, outputs, inputs): one for a linear
            layer, one per tap of a convolution's kernel.
        act_in: Action on inputs.
        act_out: Action on outputs.
    """

    layer: str
    read: Callable[[], Tensor]
    act_in: Action
    act_out: Action

    def under(self, group: Group) -> tuple[Action, Action]:
        """Both actions, of another group."""
        return self.act_in.under(group), self.act_out.under(group)


def declared_maps(model: nn.Module, representations: Representations | None) -> list[DeclaredMap]:
    """All linear maps of a model that have representations, in the model's order.

    Args:
        model: Any model.
        representations: By layer name; None takes the layers that have attributes ``act_in`` and
            ``act_out`` of their own.

    Raises:
        ConventionError: No layer has representations, a name is none of the model's, or a layer
            is of a kind whose weights cannot be read as matrices.
        ShapeError: A representation does not fit its layer.
    """
    modules = dict(model.named_modules())
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
    found = []
    for name in modules:
        if name in representations:
            found += _maps_of(name, modules[name], *representations[name])
    return found


def _readable(module: nn.Module) -> bool:
    return isinstance(module, nn.MultiheadAttention) or isinstance(
        getattr(module, "weight", None), Tensor
    )


def _maps_of(name: str, module: nn.Module, act_in: Action, act_out: Action) -> list[DeclaredMap]:
    """The maps of one layer: its weight, and its bias as a map from scalars."""
    if isinstance(module, nn.MultiheadAttention):
        return _attention(name, module, act_in, act_out)
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim < 2 or getattr(module, "groups", 1) != 1:
        raise ConventionError(
            expected="a linear layer, a convolution without channel groups, attention or a "
            "hypernetwork",
            got=type(module).__name__, argument=name,
            advice="Declare the layers inside of it.",
        )  # fmt: skip
    if isinstance(module, Action):  # Σ_k c_k(g) W_k z: linear in the features c of the element
        found = [_checked(name, lambda: weight.permute(1, 2, 0).flatten(1)[None],
                          act_in * module.dim, act_out)]  # fmt: skip
    elif isinstance(module, nn.modules.conv._ConvTransposeNd):
        found = [_checked(name, lambda: weight.flatten(2).permute(2, 1, 0), act_in, act_out)]
    else:
        found = [_checked(name, lambda: weight.flatten(2).permute(2, 0, 1)
                          if weight.ndim > 2 else weight[None], act_in, act_out)]  # fmt: skip
    bias = getattr(module, "bias", None)
    return [*found, *_bias(name, bias, act_out)]


def _attention(
    name: str, module: nn.MultiheadAttention, act_in: Action, act_out: Action
) -> list[DeclaredMap]:
    """Queries, keys and values, whose tokens carry ``act_in``, and what maps them to ``act_out``.

    Inner tokens carry act_in too, so that products of queries and keys are invariant where it is
    orthogonal and its pieces do not cross heads.
    """
    width = module.embed_dim
    weight = module.in_proj_weight
    if weight is None:
        raise ConventionError(
            expected="attention with one width for queries, keys and values",
            got="kdim or vdim of its own", argument=name,
            advice="Declare a layer of your own with nn.Linear for each of the three.",
        )  # fmt: skip
    found = []
    for k in range(3):
        rows = slice(k * width, (k + 1) * width)
        found.append(_checked(name, partial(_rows, weight, rows), act_in, act_in))
        if module.in_proj_bias is not None:
            bias = partial(_entries, module.in_proj_bias, rows)
            found.append(DeclaredMap(name, bias, Trivial(1), act_in))
    out = module.out_proj
    found.append(_checked(name, lambda: out.weight[None], act_in, act_out))
    return [*found, *_bias(name, out.bias, act_out)]


def _rows(weight: Tensor, rows: slice) -> Tensor:
    return weight[rows][None]


def _entries(bias: Tensor, rows: slice) -> Tensor:
    return bias[rows, None][None]


def _bias(name: str, bias: object, act_out: Action) -> list[DeclaredMap]:
    if not isinstance(bias, Tensor):
        return []
    return [DeclaredMap(name, lambda: bias[None, :, None], Trivial(1), act_out)]


def _checked(name: str, read: Callable[[], Tensor], act_in: Action, act_out: Action) -> DeclaredMap:
    with torch.no_grad():
        shape = tuple(read().shape[-2:])
    if shape != (act_out.dim, act_in.dim):
        raise ShapeError(
            expected=f"representations of {shape[1]} inputs and {shape[0]} outputs",
            got=f"{act_in.dim} and {act_out.dim}", argument=name,
            advice="The dims of both actions are the widths of the layer.",
        )  # fmt: skip
    return DeclaredMap(name, read, act_in, act_out)
