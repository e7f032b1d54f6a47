"""Modules that declare how they transform: their own declaration is what is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from equivariant.actions import Action, Declaration, Declares, IrrepsAction, Trivial
from equivariant.errors import ConventionError
from equivariant.groups import O3, Group, Sampler
from equivariant.measure.motions.e3nn_networks import GraphNetwork, graph_network
from equivariant.measure.motions.escnn_modules import EscnnMotion, takes_tensors
from equivariant.measure.motions.motion import Motion, as_motion
from equivariant.tree import spread_over

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
            networks on graphs, and where nothing says what random inputs would be.
        graph: What a network on graphs takes; None for others.
    """

    f: Callable[..., Any]
    act_in: Any
    act_out: Any
    law: Sampler | None
    widths: tuple[int, ...]
    graph: GraphNetwork | None = None

    def motions(self, group: Group | None = None) -> tuple[Motion, Motion]:
        """How inputs and outputs move.

        Args:
            group: The group, where actions are plain functions.
        """
        return as_motion(self.act_in, group), as_motion(self.act_out, group)

    def draw(self, items: int, *, seed: int = 0) -> Any:
        """Random inputs, normal numbers in float64: a tensor, a tuple of them, or graphs.

        Args:
            items: Rows, or graphs.
            seed: Of the first input; each further one takes the next.

        Raises:
            ConventionError: The module declares how inputs move, not which inputs it takes.
        """
        if self.graph is None and not self.widths:
            raise ConventionError(
                expected="inputs of yours", got="none", argument="data",
                advice="A module's own declaration does not say what it is fed with.",
            )  # fmt: skip
        if self.graph is not None:
            return self.graph.draw(items, torch.Generator().manual_seed(seed))
        drawn = tuple(_normal(items, width, seed=seed + k) for k, width in enumerate(self.widths))
        return drawn[0] if len(drawn) == 1 else drawn


def declared(module: Any, x: Any = None) -> Declared:
    """The actions that a module declares, in a method ``declaration`` or as e3nn and escnn do.

    ``declaration(x)``: a :class:`equivariant.actions.Declaration`, which may depend on the size of
    the input.
    e3nn: ``irreps_in`` (or ``irreps_in1``, ``irreps_in2``) and ``irreps_out``, or ``irreps`` for
    both, under O(3). Weights that a product or linear layer takes from outside are one more
    input, which does not move; where all rows share them (``shared_weights``), they are drawn
    once (normal numbers, seed 0) and held. e3nn's networks on graphs of points (``Network`` of
    2101 and 2102, ``SimpleNetwork``, ``NetworkForAGraphWithAttributes``): under E(3), inputs are
    dictionaries with ``pos``, ``batch`` and the arrays that they name.
    escnn: ``in_type`` and ``out_type``, under their group: SO(2), C_N, SO(3) or O(3).

    Args:
        module: A ``torch.nn.Module`` of either library, or anything with ``declaration``.
        x: An input, as the module takes it (a tuple is spread over its arguments); needed for
            ``declaration`` only.

    Returns:
        What ``equivariance_error(d.f, x, act_in=d.act_in, act_out=d.act_out, law=d.law)`` needs;
        without actions it looks here by itself.

    Raises:
        ConventionError: The module declares nothing, or a group that is not among these; x is
            missing; ``declaration`` returns something else.

    Example:
        >>> from e3nn import o3
        >>> d = declared(o3.Linear("8x0e + 2x1o", "4x1o"))
        >>> d.act_in.dim, d.act_out.dim, d.widths
        (14, 12, (14,))
    """
    if isinstance(module, Declares):
        return _by_declaration(module, x)
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
            expected="a module with a method declaration, irreps_in and irreps_out (e3nn), or "
            "in_type and out_type (escnn)",
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


def claimed(
    f: Any, x: Any, *, act_in: Any = None, act_out: Any = None, law: Sampler | None = None
) -> Declared:
    """What a map is asked to commute with: the actions that are given, else its declaration.

    Args:
        f: The map.
        x: A batch of inputs.
        act_in: Action on x, or None.
        act_out: Action on f(x), or None.
        law: Of the elements; None takes that of the declaration.

    Raises:
        ConventionError: One action is given and the other is not, or there is none and f declares
            none.
    """
    if act_in is not None and act_out is not None:
        return Declared(f, act_in, act_out, law, ())
    if act_in is not None or act_out is not None:
        missing = "act_in" if act_in is None else "act_out"
        raise ConventionError(
            expected="both act_in and act_out, or neither", got=f"no {missing}", argument=missing,
            advice="Without both, f says itself how it transforms; Trivial(dim) is invariance.",
        )  # fmt: skip
    found = declared(f, x)
    return found if law is None else replace(found, law=law)


def _by_declaration(module: Declares, x: Any) -> Declared:
    if x is None:
        raise ConventionError(
            expected="an input, whose size the declaration looks at", got="none", argument="x",
            advice="declared(module, x), with x as the module takes it.",
        )  # fmt: skip
    found = spread_over(module.declaration, x)
    if not isinstance(found, Declaration) or not callable(module):
        raise ConventionError(
            expected="a map whose method declaration returns Declaration(act_in, act_out, law)",
            got=f"{type(found).__name__} from {type(module).__name__}", argument="module",
            advice="equivariant.actions.Declaration holds an action on each side.",
        )  # fmt: skip
    return Declared(module, found.act_in, found.act_out, found.law, ())


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
