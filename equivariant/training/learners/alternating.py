"""A model and its augmenter, trained in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from equivariant.errors import ConventionError
from equivariant.processes import process_count, total
from equivariant.training.learners.pairs import Learner

Network = Callable[..., Tensor]
TurnLoss = Callable[[Network, Network, Mapping[str, Tensor], torch.Generator], Tensor]
"""From the model, the augmenter, a batch and a source of draws to a scalar that is minimized."""


class AlternatingLearner(Learner):
    """Steps of a model on views that its augmenter makes, and of the augmenter between them.

        T - 1 steps:   θ descends  model_loss(f_θ, a_φ)         φ rests
        1 step:        φ descends  augmenter_loss(f_θ, a_φ)     θ rests

    and again; or, with ``lookahead`` η, the augmenter's step sees what the model would become,

        φ descends  augmenter_loss(f_θ', a_φ),    θ' = θ - η ∂model_loss/∂θ (f_θ, a_φ)

    whose gradient flows through θ', the true one of the two-level problem for one plain step. An
    augmenter that ascends a loss minimizes its negative. Whose turn it is is saved with the
    weights. Parameters at rest have no gradient and are left alone by the optimizer, but a weight
    decay of ``fit`` is that of the parameters that move. On several processes steps, the plain one
    of the lookahead too, are those of the joined batch; draws are the same on each, so that its
    shares have the same noise.

    Args:
        model: f: what is kept.
        augmenter: a.
        model_loss: Of the model.
        augmenter_loss: Of the augmenter; None is the negative of the model's, an adversary.
        every: T, steps from one of the augmenter's to the next, at least 2.
        lookahead: η above 0; None lets the augmenter see the model as it is, the first-order form
            of the published codes.

    Raises:
        ConventionError: A setting is out of range.

    Source: Qin et al. 2023 (MCLRec); HARD 2023; Zheng et al. 2024 (AutoTCL); one plain step as in
    Finn et al. 2017 (MAML).
    """

    done: Tensor

    def __init__(
        self,
        model: nn.Module,
        augmenter: nn.Module,
        model_loss: TurnLoss,
        *,
        augmenter_loss: TurnLoss | None = None,
        every: int = 2,
        lookahead: float | None = None,
    ) -> None:
        super().__init__(model)
        if every < 2 or (lookahead is not None and not lookahead > 0):
            raise ConventionError(
                expected="two steps or more for a round, and a lookahead above 0",
                got=f"every={every}, lookahead={lookahead}", argument="every",
                advice="every=2 gives model and augmenter one step each.",
            )  # fmt: skip
        self.augmenter, self.model_loss = augmenter, model_loss
        self.augmenter_loss = negative(model_loss) if augmenter_loss is None else augmenter_loss
        self.every, self.lookahead = every, lookahead
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    def forward(self, **batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of whose turn it is."""
        generator = torch.Generator() if self.generator is None else self.generator
        turn = int(self.done) % self.every == self.every - 1
        if self.training:
            self.done += 1
        if not turn:
            with resting(self.augmenter):
                value = self.model_loss(self.model, self.augmenter, batch, generator)
            return value, {"model": value.detach()}
        if self.lookahead is None:
            with resting(self.model):
                value = self.augmenter_loss(self.model, self.augmenter, batch, generator)
        else:
            value = self._ahead(batch, generator, self.lookahead)
        return value, {"augmenter": value.detach()}

    def _ahead(
        self, batch: Mapping[str, Tensor], generator: torch.Generator, rate: float
    ) -> Tensor:
        """The augmenter's loss after one plain step of the model, which itself is not moved."""
        weights = {n: p.detach().requires_grad_() for n, p in self.model.named_parameters()}
        buffers = {n: b.clone() for n, b in self.model.named_buffers()}

        def at(values: Mapping[str, Tensor]) -> Network:
            state = {**values, **buffers}
            return lambda *x, **names: functional_call(self.model, state, x, names)

        inner = self.model_loss(at(weights), self.augmenter, batch, generator)
        slopes: Sequence[Tensor | None] = torch.autograd.grad(
            inner, list(weights.values()), create_graph=True, allow_unused=True
        )
        moved = {
            name: w if g is None else w - rate * total(g) / process_count()
            for (name, w), g in zip(weights.items(), slopes, strict=True)
        }
        return self.augmenter_loss(at(moved), self.augmenter, batch, generator)


def negative(loss: TurnLoss) -> TurnLoss:
    """The loss of an adversary."""

    def opposed(
        model: Network, augmenter: Network, batch: Mapping[str, Tensor], draws: torch.Generator
    ) -> Tensor:
        return -loss(model, augmenter, batch, draws)

    return opposed


@contextmanager
def resting(module: nn.Module) -> Iterator[None]:
    """Parameters that trained before have no gradient in what is computed inside.

    Args:
        module: Whose.
    """
    moving = [p for p in module.parameters() if p.requires_grad]
    for p in moving:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in moving:
            p.requires_grad_(True)
