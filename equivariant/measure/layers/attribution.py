"""Which layer of a model breaks equivariance, by how much, and what cancels what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.derivative import DerivativeMethod, derivative
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.measure.layers.layer_calls import ActionOf, DeclaredLayers
from equivariant.measure.motions.motion import Motion, as_motion, common_group
from equivariant.measure.motions.per_item import kept, moved_dtype, part_tensors, total_products


@dataclass(frozen=True)
class Attribution:
    """Contributions of K calls, and of what lies outside of them, to an equivariance error.

    Args:
        names: Names of the contributions: layers in the order in which their calls ended, with
            ``#2``, ``#3``, ... for later calls, and last ``"glue"``.
        layers: Path of the module of each of the K calls.
        gram_of_item: Inner products ⟨c_j, c_k⟩ of each item, shape (items, K+1, K+1), float64.
            Squared norms stand on the diagonal and do not add up; cross terms say why.
        total_of_item: Squared norm of the whole error, measured without replacing anything,
            shape (items,), float64.
        residual: |Σ_k c_k - error| / |error|: rounding, unless the model is random.
    """

    names: tuple[str, ...]
    layers: tuple[str, ...]
    gram_of_item: Tensor
    total_of_item: Tensor
    residual: float

    @property
    def gram(self) -> Tensor:
        """E ⟨c_j, c_k⟩, shape (K+1, K+1)."""
        return self.gram_of_item.mean(0)

    @property
    def squared(self) -> Tensor:
        """|c_k|² of each item, shape (items, K+1)."""
        return self.gram_of_item.diagonal(dim1=-2, dim2=-1)

    @property
    def total(self) -> float:
        """E |error|²."""
        return float(self.total_of_item.mean())

    @property
    def glue(self) -> float:
        """E |c|² of what happens outside of declared layers."""
        return float(self.gram[-1, -1])

    @property
    def shares(self) -> dict[str, float]:
        """E ⟨c_k, error⟩ / E |error|² by name: signed, and 1 in all; 0 without an error."""
        along = self.gram.sum(1)
        whole = float(along.sum())
        return {
            name: float(value) / whole if whole > 0 else 0.0
            for name, value in zip(self.names, along, strict=True)
        }

    def by_layer(self) -> dict[str, float]:
        """E |Σ c_k|² over the calls of each layer."""
        found = {}
        for layer in dict.fromkeys(self.layers):
            own = torch.tensor([name == layer for name in self.layers] + [False])
            own = own.to(self.gram.device)
            found[layer] = float(self.gram[own][:, own].sum())
        return found

    def __str__(self) -> str:
        shares = self.shares
        rows = [
            f"{name}: {float(value):.2e} ({100 * shares[name]:.1f} %)"
            for name, value in zip(self.names, self.gram.diagonal(), strict=True)
        ]
        return f"total {self.total:.2e}; " + ", ".join(rows)


def attribute(
    model: nn.Module,
    x: Any,
    *,
    act_in: Any,
    act_out: Any,
    act_of: ActionOf,
    direction: Tensor | None = None,
    element: Tensor | None = None,
    layers: Sequence[str] | None = None,
    forward: Callable[[Any], Any] | None = None,
    group: Group | None = None,
    method: DerivativeMethod = "forward",
) -> Attribution:
    """Split the equivariance error of a model over the calls of its layers.

    Let A_k be the output for the moved input when the outputs of the first k calls are replaced
    by g·(their output for the input that was not moved), and all else runs as it is. Then

        f(g x) - g f(x) = Σ_k c_k + glue,   c_k = A_{k-1} - A_k,   glue = A_K - g f(x)

    exactly, whatever the model's graph: skips, modules called twice, several inputs. c_k is
    what call k adds when all before it behaved. The local version is the derivative of the
    same along exp(tX) at t = 0, where c_k = J L_k: the layer's own local error, carried to the
    output.

    Args:
        model: The model, in evaluation mode.
        x: Input.
        act_in: Action on x: an action, a tree of actions, a function with ``group``, or a motion.
        act_out: The same for the output.
        act_of: The same for the output of each layer: by path, or as a function (layer, output)
            ↦ action, where None leaves the layer undeclared, so that what it adds is booked on
            the next declared call, or on the glue.
        direction: Coordinates X of the local version, shape (dim,).
        element: Element g of the finite version, shape (n, n), or (items, n, n) if all motions
            are batched. Give this or ``direction``.
        layers: Paths of modules to watch; None takes the keys of ``act_of``, or for a function
            all modules without children.
        forward: How the model is called on x, such as ``lambda x: model(*x)``; None is
            ``model(x)``.
        group: The group, where actions are plain functions.
        method: How the local version differentiates.

    Raises:
        ConventionError: Not exactly one of ``direction`` and ``element`` is given, a layer does
            not exist, or the calls depend on the input.
        ShapeError: An action does not fit what it acts on.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> model = nn.Sequential(nn.Identity(), nn.Tanh(), nn.Identity()).double()
        >>> x, action = torch.randn(8, 3, dtype=torch.float64), Vectors(SO3())
        >>> blame = attribute(
        ...     model, x, act_in=action, act_out=action, act_of=lambda layer, output: action,
        ...     direction=torch.tensor([0.0, 0.0, 1.0]),
        ... )
        >>> {name: round(share, 9) for name, share in blame.shares.items()}
        {'0': 0.0, '1': 1.0, '2': 0.0, 'glue': 0.0}
    """
    motion_in, motion_out = as_motion(act_in, group), as_motion(act_out, group)
    group = common_group(motion_in, motion_out)
    if (direction is None) == (element is None):
        raise ConventionError(
            expected="exactly one of direction and element",
            got="both" if direction is not None else "none",
            argument="direction",
            advice="A direction of the algebra asks for the local error, an element for its own.",
        )
    declared = DeclaredLayers(model, x, act_of=act_of, layers=layers, forward=forward, group=group)
    precision, device = moved_dtype(motion_in, x)
    if direction is None:
        g = (element if element is not None else group.identity()).to(device)
        states = _finite_states(declared, motion_in, motion_out, g)
    else:
        group.check_coordinates(direction, "direction")
        step = direction.to(device=device, dtype=torch.float64)
        g = group.identity().to(device)
        curves = _curves(declared, motion_in, motion_out, group, step)
        states = [
            derivative(curve, method=method, precision=precision, device=device) for curve in curves
        ]
    return _attribution(declared, motion_out, g, states, motion_in.items(x))


def replaced_output(
    declared: DeclaredLayers, act_in: Motion, act_out: Motion, g: Tensor, count: int
) -> dict[str, Tensor]:
    """A_k: output for the moved input with the first k calls replaced by their moved outputs."""

    def change(number: int, output: Any) -> Any:
        return declared.calls[number].moved(g) if number < count else output

    return part_tensors(act_out, declared.run(act_in.move(g, declared.x), change))


def _finite_states(
    declared: DeclaredLayers, act_in: Motion, act_out: Motion, g: Tensor
) -> list[dict[str, Tensor]]:
    """f(g x), A_0, ..., A_K, g f(x)."""
    with torch.enable_grad():  # the model may call autograd itself
        whole = part_tensors(act_out, declared.forward(act_in.move(g, declared.x)))
        between = [
            replaced_output(declared, act_in, act_out, g, k) for k in range(len(declared.calls) + 1)
        ]
        end = part_tensors(act_out, act_out.move(g, declared.y))
    return [{n: v.detach().double() for n, v in state.items()} for state in (whole, *between, end)]


def _curves(
    declared: DeclaredLayers, act_in: Motion, act_out: Motion, group: Group, direction: Tensor
) -> list[Callable[[Tensor], dict[str, Tensor]]]:
    """The states of :func:`_finite_states` for g = exp(tX), as functions of t."""

    def whole(t: Tensor) -> dict[str, Tensor]:
        moved = act_in.move(group.exp(t * direction), declared.x)
        return part_tensors(act_out, declared.forward(moved))

    def between(count: int) -> Callable[[Tensor], dict[str, Tensor]]:
        return lambda t: replaced_output(declared, act_in, act_out, group.exp(t * direction), count)

    def end(t: Tensor) -> dict[str, Tensor]:
        return part_tensors(act_out, act_out.move(group.exp(t * direction), declared.y))

    return [whole, *map(between, range(len(declared.calls) + 1)), end]


def _attribution(
    declared: DeclaredLayers,
    act_out: Motion,
    g: Tensor,
    states: list[dict[str, Tensor]],
    items: int,
) -> Attribution:
    parts = act_out.parts(declared.y)
    stacked = {
        name: torch.stack([kept(act_out, g, name, state[name]) for state in states])
        for name in parts
    }
    contributions = {name: states[1:-1] - states[2:] for name, states in stacked.items()}
    total = {name: (states[0] - states[-1]).unsqueeze(0) for name, states in stacked.items()}
    missing = {name: contributions[name].sum(0, keepdim=True) - total[name] for name in total}
    total_of_item = total_products(total, parts, items)[:, 0, 0]
    gap = float(total_products(missing, parts, items).sum()) ** 0.5
    size = float(total_of_item.sum()) ** 0.5
    return Attribution(
        names=(*(call.name for call in declared.calls), "glue"),
        layers=tuple(call.layer for call in declared.calls),
        gram_of_item=total_products(contributions, parts, items),
        total_of_item=total_of_item,
        residual=0.0 if gap == 0.0 else gap / max(size, 1e-300),
    )
