"""Equivariance asked of an inner feature map, inside any objective."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor, nn

from equivariant.actions import Action
from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Matrix, Scalar


class FeatureTap:
    """Compares what a layer says of an input with what it says of the moved input.

        R = mean over the batch of |h(g x) - ρ(g) h(x)|² / (½ |h(g x)|² + ½ |h(x)|²)

    h is the output of one layer, recorded while the model runs as it always does: no pass of its
    own. On the output of a network this is the sampled penalty of REMUL; on a middle map that of
    equivariant regularization of inner features.

    Args:
        layer: A module inside the model, whose output is a tensor.
        action: ρ on its output, batch axis first; ``ImageWarp`` for maps of features, for example.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 1))
        >>> x, g = torch.randn(8, 3), SO3().sample(8, generator=torch.Generator()).float()
        >>> with FeatureTap(model[0], Vectors(SO3())) as tap:
        ...     _ = model(x), model(Vectors(SO3())(g, x))
        ...     term = tap(g)
        >>> bool(term >= 0)
        True

    Source: Elhag et al. 2024 (outputs).
    """

    def __init__(self, layer: nn.Module, action: Action) -> None:
        if not isinstance(layer, nn.Module):
            raise ConventionError(
                expected="a module inside the model", got=type(layer).__name__, argument="layer",
                advice="For example model.encoder.stages[1].",
            )  # fmt: skip
        self.layer, self.action = layer, action
        self._seen: list[Tensor] = []
        self._handle = layer.register_forward_hook(self._record)

    def __call__(self, g: Matrix) -> Scalar:
        """The term of the last two outputs: first of x, then of g x. What was recorded is dropped.

        Args:
            g: Elements, shape (batch, n, n).

        Raises:
            ConventionError: The layer has not run twice since the last call.
            ShapeError: The two outputs differ in shape, or the action or the number of elements
                does not fit.
        """
        if len(self._seen) < 2:
            raise ConventionError(
                expected="two passes of the model, of x and of the moved x",
                got=f"{len(self._seen)}", argument="g",
                advice="Call the model on both before the tap.",
            )  # fmt: skip
        still, moved = self._seen[-2:]
        self._seen.clear()
        if still.shape != moved.shape:
            raise ShapeError(
                expected=f"two outputs of shape {tuple(still.shape)}", got=f"{tuple(moved.shape)}",
                argument="g", advice="Both passes need batches of one size.",
            )  # fmt: skip
        if g.ndim > 2 and len(g) not in (1, len(still)):
            raise ShapeError(
                expected=f"one element, or {len(still)}, one for each of the batch",
                got=f"shape {tuple(g.shape)}", argument="g",
                advice="Pass the elements that moved the second pass's inputs.",
            )  # fmt: skip
        expected: Tensor = self.action(g.to(still), still)
        error = (moved - expected).flatten(1).square().sum(1)
        size = 0.5 * (moved.flatten(1).square().sum(1) + still.flatten(1).square().sum(1))
        return (error / torch.where(size > 0, size, 1.0)).mean()

    def close(self) -> None:
        """Stop recording."""
        self._handle.remove()
        self._seen.clear()

    def __enter__(self) -> FeatureTap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _record(self, module: nn.Module, inputs: object, output: object) -> None:
        if not isinstance(output, Tensor):
            raise ConventionError(
                expected="a layer whose output is a tensor", got=type(output).__name__,
                argument="layer", advice="Tap a layer inside of it.",
            )  # fmt: skip
        self._seen = [*self._seen[-1:], output]
