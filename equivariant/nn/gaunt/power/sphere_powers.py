"""Powers of a function on the sphere as coefficients, with derivatives of every order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from equivariant.nn.gaunt.accumulation import without_autocast
from equivariant.nn.tracing import makes_graph
from equivariant.shapes import Float

VALUES_AT_A_TIME = 1 << 16


@dataclass(frozen=True)
class SpherePowers:
    """The powers f², ..., f^n of a function on the sphere, on one grid.

        z_ν = ⟨f^ν, Y⟩,   f = Σ_a x_a Y_a,   ν = 2, ..., n

    Derivatives of order k in directions r_1, ..., r_k, and gradients of these, need only

        out(x; r)      z_ν = ν!/(ν−k)! ⟨f^(ν−k) r_1...r_k, Y⟩
        into(x, q; r)  g_a = Σ_ν ν!/(ν−k−1)! Σ_p f^(ν−k−1) r_1...r_k (Σ_c P_pc q_νc) Y_a(p)

    with the projection P. The gradient of either by any of its operands is one of the two again,
    so that nothing on the grid is ever kept; rows are worked through in chunks.

    Args:
        values: Y_a at points, shape (inputs, points).
        projection: P, the weights times Y_c at points, shape (points, outputs). The grid must
            integrate the product of n inputs with an output.
        correlation: n, at least 2.

    Example:
        >>> one = torch.ones(1, 1)
        >>> powers(torch.tensor([[2.0]]), SpherePowers(one, one, 3)).tolist()
        [[[4.0]], [[8.0]]]
    """

    values: Tensor
    projection: Tensor
    correlation: int

    def out(self, x: Tensor, directions: tuple[Tensor, ...]) -> Tensor:
        """The powers, or their derivative in directions: (n−1, rows, outputs)."""
        f = x @ self.values
        empty = x.new_zeros(x.shape[0], self.projection.shape[1])
        return torch.stack(
            [
                empty if term is None else term @ self.projection
                for term in self._terms(f, directions, len(directions))
            ]
        )

    def into(self, x: Tensor, q: Tensor, directions: tuple[Tensor, ...]) -> Tensor:
        """The gradient of that by x, where its result has the gradient q: (rows, inputs)."""
        f = x @ self.values
        total = torch.zeros_like(f)
        for place, term in enumerate(self._terms(f, directions, len(directions) + 1)):
            if term is not None:
                total = total + (q[place] @ self.projection.T) * term
        return total @ self.values.T

    def _terms(
        self, f: Tensor, directions: tuple[Tensor, ...], order: int
    ) -> Iterator[Tensor | None]:
        """ν!/(ν−k)! f^(ν−k) times the directions for ν = 2, ..., n; None where ν < k."""
        term: Tensor | None = None
        for direction in directions:
            values = direction @ self.values
            term = values if term is None else term * values
        exponent = 0
        for power in range(2, self.correlation + 1):
            while exponent < power - order:
                term = f if term is None else term * f
                exponent += 1
            if power < order or term is None:
                yield None
            else:
                factor = math.perm(power, order)
                yield term if factor == 1 else factor * term

    def rows(self) -> int:
        """How many rows make one chunk."""
        return max(1, VALUES_AT_A_TIME // self.values.shape[1])


def powers(
    x: Float[Tensor, "rows inputs"], form: SpherePowers, direction: Tensor | None = None
) -> Float[Tensor, "n rows outputs"]:
    """Coefficients of f², ..., f^n, or their derivative in a direction.

    Args:
        x: Coefficients of f, shape (rows, inputs), in the dtype of the form.
        form: The grid and the largest power.
        direction: Of the shape of x; None for the powers themselves.

    Returns:
        Shape (n−1, rows, outputs).

    Example:
        >>> one = torch.ones(1, 1)
        >>> powers(torch.tensor([[3.0]]), SpherePowers(one, one, 2)).item()
        9.0
        >>> powers(torch.tensor([[3.0]]), SpherePowers(one, one, 2), one).item()
        6.0
    """
    directions = () if direction is None else (direction,)
    if makes_graph():
        with without_autocast(x.device):
            return form.out(x, directions)
    return _out(form, x, *directions)


class _Out(torch.autograd.Function):
    """The powers, or a derivative of them in directions."""

    generate_vmap_rule = True

    @staticmethod
    def forward(form: SpherePowers, x: Tensor, *directions: Tensor) -> Tensor:
        return torch.cat(
            [form.out(x[part], tuple(r[part] for r in directions)) for part in _chunks(x, form)], 1
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.form, *operands = inputs
        ctx.save_for_backward(*operands)
        ctx.save_for_forward(*operands)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *directions = ctx.saved_tensors
        needed = ctx.needs_input_grad
        of_x = _into(ctx.form, x, gradient, *directions) if needed[1] else None
        others = [
            _into(ctx.form, x, gradient, *directions[:n], *directions[n + 1 :])
            if needed[2 + n]
            else None
            for n in range(len(directions))
        ]
        return None, of_x, *others

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Tensor:
        x, *directions = ctx.saved_tensors
        of_x, *others = tangents
        found = [] if of_x is None else [_out(ctx.form, x, *directions, of_x)]
        found += [
            _out(ctx.form, x, *directions[:n], tangent, *directions[n + 1 :])
            for n, tangent in enumerate(others)
            if tangent is not None
        ]
        return sum(found[1:], found[0])


class _Into(torch.autograd.Function):
    """The gradient of the powers, or of a derivative of them, by f."""

    generate_vmap_rule = True

    @staticmethod
    def forward(form: SpherePowers, x: Tensor, q: Tensor, *directions: Tensor) -> Tensor:
        return torch.cat(
            [
                form.into(x[part], q[:, part], tuple(r[part] for r in directions))
                for part in _chunks(x, form)
            ]
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.form, *operands = inputs
        ctx.save_for_backward(*operands)
        ctx.save_for_forward(*operands)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, q, *directions = ctx.saved_tensors
        needed = ctx.needs_input_grad
        of_x = _into(ctx.form, x, q, *directions, gradient) if needed[1] else None
        of_q = _out(ctx.form, x, *directions, gradient) if needed[2] else None
        others = [
            _into(ctx.form, x, q, *directions[:n], *directions[n + 1 :], gradient)
            if needed[3 + n]
            else None
            for n in range(len(directions))
        ]
        return None, of_x, of_q, *others

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Tensor:
        x, q, *directions = ctx.saved_tensors
        of_x, of_q, *others = tangents
        found = [] if of_x is None else [_into(ctx.form, x, q, *directions, of_x)]
        if of_q is not None:
            found.append(_into(ctx.form, x, of_q, *directions))
        found += [
            _into(ctx.form, x, q, *directions[:n], tangent, *directions[n + 1 :])
            for n, tangent in enumerate(others)
            if tangent is not None
        ]
        return sum(found[1:], found[0])


def _chunks(x: Tensor, form: SpherePowers) -> list[slice]:
    step = form.rows()
    return [slice(start, start + step) for start in range(0, max(1, len(x)), step)]


def _out(form: SpherePowers, x: Tensor, *directions: Tensor) -> Tensor:
    with without_autocast(x.device):
        if not _derived(x, *directions):
            return _Out.forward(form, x, *directions)
        result: Tensor = _Out.apply(form, x, *directions)  # type: ignore[no-untyped-call]
    return result


def _into(form: SpherePowers, x: Tensor, q: Tensor, *directions: Tensor) -> Tensor:
    with without_autocast(x.device):
        if not _derived(x, q, *directions):
            return _Into.forward(form, x, q, *directions)
        result: Tensor = _Into.apply(form, x, q, *directions)  # type: ignore[no-untyped-call]
    return result


def _derived(*operands: Tensor) -> bool:
    return transformed() or (torch.is_grad_enabled() and any(x.requires_grad for x in operands))


def transformed() -> bool:
    """Whether torch.func's transformations or forward-mode derivatives are under way.

    Returns:
        True inside of them; then results must be made of differentiable parts.

    Example:
        >>> transformed()
        False
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
