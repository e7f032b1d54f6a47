"""A model with one layer replaced by its nearest equivariant form: what does that layer cost?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from equivariant.actions import Action, Trivial
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.measure.layers.weight_defect import weight_defect
from equivariant.measure.motions.motion import Motion, as_motion, common_group
from equivariant.shapes import Matrix
from equivariant.tree import rebuild, spreading


def substituted(
    model: nn.Module,
    layer: str,
    *,
    act_in: Any,
    act_out: Any,
    elements: Matrix | None = None,
    forward: Callable[[Any], Any] | None = None,
    group: Group | None = None,
) -> Callable[[Any], Any]:
    """The model as a function, with one layer made equivariant.

    A linear layer between linear actions takes the projections of its weights and bias on the
    intertwiners. Any other layer m is averaged over the elements,

        m̄(u) = mean_g ρ_out(g)⁻¹ m(ρ_in(g) u)

    which is exactly equivariant for a finite group and all its elements, and approximately for
    samples of a compact one. The model itself is not changed: the layer is replaced by a hook
    while the function runs.

    Args:
        model: The model.
        layer: Path of the module, as ``model.named_modules()`` has it.
        act_in: Action on the layer's input, or on the tuple of its inputs if it has several.
        act_out: Action on its output.
        elements: Elements to average over, shape (k, n, n); for a linear layer the discrete
            elements of :func:`weight_defect`.
        forward: How the model is called on x; None is ``model(x)``.
        group: The group, where actions are plain functions.

    Returns:
        x ↦ output with the layer replaced, for any measurement of this package.

    Raises:
        ConventionError: The layer does not exist, or is not linear and no elements are given.
        ShapeError: The layer's weights do not fit the actions.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> model, action = nn.Sequential(nn.Linear(3, 3), nn.Identity()), Vectors(SO3())
        >>> mended = substituted(model, "0", act_in=action, act_out=action)
        >>> y = mended(torch.eye(3))
        >>> bool(torch.allclose(y, y[0, 0] * torch.eye(3), atol=1e-6))
        True
    """
    modules = dict(model.named_modules())
    if layer not in modules:
        raise ConventionError(
            expected=f"one of {', '.join(map(repr, modules))}",
            got=repr(layer),
            argument="layer",
            advice="Name layers as model.named_modules() does.",
        )
    module, run = modules[layer], forward or spreading(model)
    if isinstance(module, nn.Linear) and isinstance(act_in, Action) and _linear(act_in, act_out):
        replacement = _projected(module, act_in, act_out, elements)
    elif elements is not None:
        replacement = _averaged(module, as_motion(act_in, group), as_motion(act_out, group),
                                elements)  # fmt: skip
    else:
        raise ConventionError(
            expected="elements to average over, for a layer that is not linear",
            got="none",
            argument="elements",
            advice="Pass group.sample(64, generator=generator), or all of a finite group.",
        )

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        return replacement(args, kwargs)

    def f(x: Any) -> Any:
        handle = module.register_forward_hook(hook, with_kwargs=True)
        try:
            return run(x)
        finally:
            handle.remove()

    return f


def _linear(act_in: Action, act_out: Any) -> bool:
    vectors = act_in.event_dim == 1 and isinstance(act_out, Action) and act_out.event_dim == 1
    return vectors and not (act_in.group is None and act_out.group is None)


def _projected(
    module: nn.Linear, act_in: Action, act_out: Action, elements: Matrix | None
) -> Callable[[Any, Any], Any]:
    """The linear layer with projected weights and bias; a bias maps from the trivial action."""
    weight = weight_defect(module.weight, act_in, act_out, elements=elements).projection
    bias = None
    if module.bias is not None:
        invariant = Trivial(1, act_in.group or act_out.group)
        column = module.bias.unsqueeze(1)
        bias = weight_defect(column, invariant, act_out, elements=elements).projection[:, 0]

    def replacement(args: Any, kwargs: Any) -> Any:
        u = args[0] if args else next(iter(kwargs.values()))
        return linear(u, weight, bias)

    return replacement


def _averaged(
    module: nn.Module, act_in: Motion, act_out: Motion, elements: Matrix
) -> Callable[[Any, Any], Any]:
    """The layer averaged over elements; ``module.forward`` does not call the hook again."""
    group = common_group(act_in, act_out)
    group.check_element(elements, "elements")

    def replacement(args: Any, kwargs: Any) -> Any:
        total: Any = None
        for g in elements:
            moved = (act_in.move(g, args[0]),) if len(args) == 1 else act_in.move(g, args)
            back = act_out.move(group.inverse(g), module.forward(*moved, **kwargs))
            total = back if total is None else _combined(total, back, torch.add)
        return _combined(total, total, lambda a, _: a / len(elements))

    return replacement


def _combined(a: Any, b: Any, combine: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """Floating-point tensors of two trees of one structure combined; the rest is a's."""
    others: list[Any] = []
    rebuild(b, lambda _, leaf: others.append(leaf))
    following = iter(others)

    def pair(_: str, leaf: Any) -> Any:
        other = next(following)
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            return combine(leaf, other)
        return leaf

    return rebuild(a, pair)
