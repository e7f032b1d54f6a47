"""Layers that are relaxed one by one, as far as their gradients ask for it and no further."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.actions import EquivariantMaps
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.regularizers.declared_maps import Representations, declared_maps
from equivariant.shapes import Float


class LayerRelaxation:
    """Keeps of each layer's broken part the share γ_l, which follows the layer's own gradients.

        after every step:   W_l ← P W_l + γ_l (W_l - P W_l)
        m_l ← decay m_l + (1 - decay) ∇⊥,   v_l ← decay v_l + (1 - decay) |∇⊥|²
        γ_l = min(1, gain max(0, |m_l|² / v_l - floor))^½,   floor = (1 - decay) / (1 + decay)

    ∇⊥ is the part of the gradient that would break the symmetry. Where the data of a layer are
    symmetric its mean is zero: |m|² / v is then the share that the mean of independent gradients
    keeps, the floor, γ goes to zero and the layer becomes equivariant. Where they are not, the
    gradients agree from step to step and the layer stays free. Nothing says beforehand how far.

    Call :meth:`step` after the optimizer's, while gradients are still there.

    Args:
        model: Any module with linear layers or convolutions.
        group: The symmetry.
        representations: Actions by layer name; None takes what layers declare.
        decay: Of the averages, in (0, 1).
        gain: Above 0.

    Raises:
        ConventionError: A number is out of range, or a layer's weights are no view of a parameter.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import SO3
        >>> model, vector = nn.Linear(3, 3, bias=False), Tensors(SO3(), 1)
        >>> relaxation = LayerRelaxation(model, SO3(), representations={"": (vector, vector)})
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> model(torch.randn(8, 3)).square().mean().backward()
        >>> optimizer.step()
        >>> relaxation.step()
        >>> relaxation.shares.shape
        torch.Size([1])

    Source: after the idea of Pertigkiozoglou et al. 2026 (relaxation per layer, learned from the
    training signal); the rule is another.
    """

    def __init__(
        self,
        model: nn.Module,
        group: Group,
        *,
        representations: Representations | None = None,
        decay: float = 0.99,
        gain: float = 1.0,
    ) -> None:
        if not 0 < decay < 1 or gain <= 0:
            raise ConventionError(
                expected="decay in (0, 1) and a gain above 0", got=f"{decay}, {gain}",
                argument="decay", advice="0.99 averages over about a hundred steps.",
            )  # fmt: skip
        self.decay, self.gain = decay, gain
        self._maps = declared_maps(model, representations)
        self._projections = [EquivariantMaps(*one.under(group)) for one in self._maps]
        self.layers = tuple(dict.fromkeys(one.layer for one in self._maps))
        self._owner = [self.layers.index(one.layer) for one in self._maps]
        self._model = model
        self._means = [torch.zeros_like(one.read().detach()) for one in self._maps]
        self._squares = torch.zeros(len(self.layers), dtype=torch.float64)
        self._steps = 0
        self.shares = torch.ones(len(self.layers), dtype=torch.float64)

    @property
    def _parameters(self) -> dict[int, Tensor]:
        """By where their numbers are now; models may be moved and loaded between steps."""
        return {p.data_ptr(): p for p in self._model.parameters()}

    @property
    def ready(self) -> bool:
        """Whether all declared weights have gradients."""
        parameters = self._parameters
        return all(_has_gradient(one.read(), parameters) for one in self._maps)

    @torch.no_grad()
    def step(self) -> None:
        """Update the shares from the gradients and apply them to the weights.

        Raises:
            ConventionError: A weight has no gradient.
        """
        self._steps += 1
        parameters = self._parameters
        norms = torch.zeros(len(self.layers), dtype=torch.float64)
        squares = torch.zeros(len(self.layers), dtype=torch.float64)
        for k, (one, maps) in enumerate(zip(self._maps, self._projections, strict=True)):
            slope = _gradient_like(one.read(), parameters)
            broken = slope - maps.projection(slope)
            self._means[k] = self._means[k].to(broken)
            self._means[k].mul_(self.decay).add_(broken, alpha=1 - self.decay)
            squares[self._owner[k]] += float(broken.square().sum())
            norms[self._owner[k]] += float(self._means[k].square().sum())
        self._squares = self.decay * self._squares + (1 - self.decay) * squares
        self.shares = self._shares(norms)
        for k, (one, maps) in enumerate(zip(self._maps, self._projections, strict=True)):
            W = one.read()
            nearest = maps.projection(W)
            W.copy_(nearest + float(self.shares[self._owner[k]]) * (W - nearest))

    def _shares(self, norms: Tensor) -> Float[Tensor, " layers"]:
        """γ from averages, both freed of the zeros that they started from."""
        grown = 1 - self.decay**self._steps
        mean, square = norms / grown**2, self._squares / grown
        agreement = mean / torch.where(square > 0, square, 1.0)
        floor = (1 - self.decay) / (1 + self.decay) * (1 + self.decay**self._steps) / grown
        kept = (agreement - floor).clamp(min=0.0) / max(1 - floor, 1e-9)
        if self._steps == 1:
            return torch.ones_like(kept)
        return (self.gain * kept).clamp(max=1.0).sqrt()


def _has_gradient(W: Tensor, parameters: dict[int, Tensor]) -> bool:
    base = W._base if W._base is not None else W
    parameter = parameters.get(base.data_ptr())
    return parameter is not None and parameter.grad is not None


def _gradient_like(W: Tensor, parameters: dict[int, Tensor]) -> Tensor:
    """The gradient of a parameter, seen as its matrix is."""
    base = W._base if W._base is not None else W
    parameter = parameters.get(base.data_ptr())
    if parameter is None or parameter.grad is None:
        raise ConventionError(
            expected="gradients of all declared weights", got="none", argument="model",
            advice="Call loss.backward() before; layers must hold their matrices as parameters.",
        )  # fmt: skip
    return parameter.grad.as_strided(W.size(), W.stride(), W.storage_offset())
