"""The calls of a model's modules: recorded and replaced in the order in which they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.measure.motions.motion import Motion, as_motion
from equivariant.tree import detached, fresh, spreading, tensors

ActionOf = Callable[[str, Any], Any] | Mapping[str, Any]
"""How elements move the output of each layer: (layer, output) ↦ action, or actions by layer."""


@dataclass(frozen=True)
class Call:
    """One call of a declared layer.

    Args:
        name: The layer, with ``#2``, ``#3``, ... for its later calls.
        layer: Path of the module in the model.
        output: What it returned for the input that was not moved.
        motion: How elements move that output.
    """

    name: str
    layer: str
    output: Any
    motion: Motion

    def moved(self, g: Tensor) -> Any:
        """g·output, in tensors of its own, which in-place operations may overwrite."""
        return fresh(self.motion.move(g, self.output))


class DeclaredLayers:
    """A model with the calls of it whose outputs transform in a known way.

    Args:
        model: The model, in evaluation mode.
        x: Its input.
        act_of: Action on each layer's output; None for a layer leaves it undeclared.
        layers: Paths of modules to watch; None takes the keys of ``act_of``, or for a function
            all modules without children.
        forward: How the model is called on x; None is ``model(x)``.
        group: The group, where actions are plain functions.

    Raises:
        ConventionError: A layer does not exist, is never called, or has no action that is
            declared by name.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Any,
        *,
        act_of: ActionOf,
        layers: Sequence[str] | None = None,
        forward: Callable[[Any], Any] | None = None,
        group: Group | None = None,
    ) -> None:
        self.model, self.x = model, x
        self.forward = spreading(model) if forward is None else forward
        self._layers = _chosen(model, act_of, layers)
        found: list[tuple[str, Any]] = []

        def record(index: int, layer: str, output: Any) -> Any:
            found.append((layer, fresh(detached(output))))
            return output

        with torch.enable_grad(), watched(model, self._layers, record):  # f may call autograd
            self.y = detached(self.forward(x))
        action_of = act_of.get if isinstance(act_of, Mapping) else None
        self._chosen: list[int] = []
        self.calls: list[Call] = []
        for index, (layer, output) in enumerate(found):
            action = action_of(layer) if action_of else act_of(layer, output)  # type: ignore[operator]
            if action is None:
                continue
            times = 1 + sum(call.layer == layer for call in self.calls)
            name = layer if times == 1 else f"{layer}#{times}"
            self.calls.append(Call(name, layer, output, as_motion(action, group)))
            self._chosen.append(index)
        self._seen = [layer for layer, _ in found]
        if not self.calls:
            raise ConventionError(
                expected="at least one call of a layer with a declared action",
                got=f"calls of {sorted(set(self._seen)) or 'no watched layer'}",
                argument="act_of",
                advice="Name layers as model.named_modules() does.",
            )

    def run(self, x: Any, change: Callable[[int, Any], Any]) -> Any:
        """The model's output with the outputs of declared calls changed.

        Args:
            x: Input.
            change: (number of the declared call from 0, its output) ↦ what goes on instead.

        Raises:
            ConventionError: The model makes other calls than at its first run.
        """
        place = {index: number for number, index in enumerate(self._chosen)}
        seen: list[str] = []

        def pass_on(index: int, layer: str, output: Any) -> Any:
            seen.append(layer)
            return change(place[index], output) if index in place else output

        with watched(self.model, self._layers, pass_on):
            y = self.forward(x)
        if seen != self._seen:
            raise ConventionError(
                expected=f"the same {len(self._seen)} calls of layers for every input",
                got=f"{len(seen)} calls, or another order",
                argument="model",
                advice="Attribution follows fixed calls; choose layers outside of the branch.",
            )
        return y


@contextmanager
def watched(
    model: nn.Module, layers: Sequence[str], on_call: Callable[[int, str, Any], Any]
) -> Iterator[None]:
    """While it lasts, the outputs of the layers' calls go through a function.

    Args:
        model: The model.
        layers: Paths of its modules.
        on_call: (number of the call from 0, layer, output) ↦ what the call returns instead.

    Example:
        >>> model = nn.Sequential(nn.Identity(), nn.Identity())
        >>> with watched(model, ["0"], lambda number, layer, output: output + 1):
        ...     model(torch.zeros(2))
        tensor([1., 1.])
    """
    modules = dict(model.named_modules())
    count = 0
    handles = []

    def hook_of(layer: str) -> Callable[..., Any]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            nonlocal count
            count += 1
            return on_call(count - 1, layer, output)

        return hook

    try:
        handles = [modules[layer].register_forward_hook(hook_of(layer)) for layer in layers]
        yield
    finally:
        for handle in handles:
            handle.remove()


def floating(tree: Any) -> dict[str, Tensor]:
    """The floating-point tensors of a tree by path."""
    return {name: leaf for name, leaf in tensors(tree).items() if leaf.is_floating_point()}


def _chosen(model: nn.Module, act_of: ActionOf, layers: Sequence[str] | None) -> list[str]:
    modules = dict(model.named_modules())
    if layers is None:
        leaves = [name for name, module in modules.items() if not list(module.children())]
        layers = list(act_of) if isinstance(act_of, Mapping) else leaves
    unknown = sorted(set(layers) - set(modules))
    if unknown:
        raise ConventionError(
            expected=f"paths of modules: {', '.join(map(repr, modules))}",
            got=", ".join(map(repr, unknown)),
            argument="layers",
            advice="Name layers as model.named_modules() does.",
        )
    return list(layers)
