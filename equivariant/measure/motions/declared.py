"""Modules that declare how they transform: their own declaration is what is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from equivariant.actions import Action, IrrepsAction, Trivial
from equivariant.errors import ConventionError
from equivariant.groups import O3, Sampler
from equivariant.measure.motions.e3nn_networks import GraphNetwork, graph_network
from equivariant.measure.motions.escnn_modules import EscnnMotion, takes_tensors

_NAMES = (  # of the inputs and, last, of the output
    ("irreps_in", "irreps_out"),  # first: a TensorSquare has the names of its two factors too
    ("irreps_in1", "irreps_in2", "irreps_out"),
    ("irreps", "irreps"),
)


@dataclass(frozen=True)
class Declared:
    """A module's own declaration.

    Args:
        f: The map on plain tensors.
        act_in: Action on its input, or a tuple of them.
        act_out: Action on its output.
        law: Elements that it is about; None for the group's own law.
        widths: Sizes of the last axis (e3nn) or of the channels (escnn) of each input; empty for
            networks on graphs.
        graph: What a network on graphs takes; None for others.
    """

    f: Callable[..., Any]
    act_in: Any
    act_out: Any
    law: Sampler | None
    widths: tuple[int, ...]
    graph: GraphNetwork | None = None

    def draw(self, items: int, *, seed: int = 0) -> Any:
        """Random inputs, normal numbers in float64: a tensor, a tuple of them, or graphs.

        Args:
            items: Rows, or graphs.
            seed: Of the first input; each further one takes the next.
        """
        if self.graph is not None:
            return self.graph.draw(items, torch.Generator().manual_seed(seed))
        drawn = tuple(_normal(items, width, seed=seed + k) for k, width in enumerate(self.widths))
        return drawn[0] if len(drawn) == 1 else drawn


def declared(module: Any) -> Declared:
    """The actions that a module of e3nn or escnn declares.

    e3nn: ``irreps_in`` (or ``irreps_in1``, ``irreps_in2``) and ``irreps_out``, or ``irreps`` for
    both, under O(3). Weights that a product or linear layer takes from outside are one more
    input, which does not move; where all rows share them (``shared_weights``), they are drawn
    once (normal numbers, seed 0) and held. e3nn's networks on graphs of points (``Network`` of
    2101 and 2102, ``SimpleNetwork``, ``NetworkForAGraphWithAttributes``): under E(3), inputs are
    dictionaries with ``pos``, ``batch`` and the arrays that they name.
    escnn: ``in_type`` and ``out_type``, under their group: SO(2), C_N, SO(3) or O(3).

    Args:
        module: A ``torch.nn.Module`` of either library.

    Returns:
        What ``equivariance_error(d.f, x, act_in=d.act_in, act_out=d.act_out, law=d.law)`` needs.

    Raises:
        ConventionError: The module declares nothing, or a group that is not among these.

    Example:
        >>> from e3nn import o3
        >>> d = declared(o3.Linear("8x0e + 2x1o", "4x1o"))
        >>> d.act_in.dim, d.act_out.dim, d.widths
        (14, 12, (14,))
    """
    if hasattr(module, "in_type") and hasattr(module, "out_type"):
        act_in, act_out = EscnnMotion(module.in_type), EscnnMotion(module.out_type)
        return Declared(
            takes_tensors(module), act_in, act_out, act_in.law(), (int(module.in_type.size),)
        )
    graph = graph_network(module)
    if graph is not None:
        return Declared(graph.f, graph.act_in, graph.act_out, None, (), graph)
    names = next((n for n in _NAMES if all(hasattr(module, name) for name in n)), ())
    if not names:
        raise ConventionError(
            expected="a module with irreps_in and irreps_out (e3nn), or in_type and out_type "
            "(escnn)",
            got=type(module).__name__,
            argument="module",
            advice="Say how it transforms: equivariance_error(f, x, act_in=..., act_out=...).",
        )
    *inputs, output = (IrrepsAction(Irreps(getattr(module, name)), O3()) for name in names)
    actions: list[Action] = list(inputs)
    f: Callable[..., Any] = module
    outside = _outside_weights(module)
    if outside and module.shared_weights:
        f = _Holding(module, outside)
    else:
        actions += [Trivial(size) for size in outside]
    return Declared(
        f,
        actions[0] if len(actions) == 1 else tuple(actions),
        output,
        None,
        tuple(action.dim for action in actions),
    )


class _Holding(nn.Module):
    """A module with the weights that it takes from outside."""

    def __init__(self, module: nn.Module, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.module, self.count = module, len(sizes)
        like = next((b for b in module.buffers() if b.is_floating_point()), torch.empty(0))
        for k, size in enumerate(sizes):
            self.register_buffer(f"weight{k}", _normal(size, seed=k).to(like))

    def forward(self, *inputs: Tensor) -> Any:
        return self.module(*inputs, *(getattr(self, f"weight{k}") for k in range(self.count)))


def _outside_weights(module: Any) -> tuple[int, ...]:
    """How many weights, and biases, each call takes; empty where the module has its own."""
    if getattr(module, "internal_weights", True):
        return ()
    sizes = (getattr(module, "weight_numel", 0), getattr(module, "bias_numel", 0))
    return tuple(size for size in sizes if size)


def _normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
