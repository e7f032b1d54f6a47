"""Training in episodes: at the start of each, the model looks at all data anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.training.learners.pairs import Learner

Found = Mapping[str, Tensor]
Look = Callable[[nn.Module, torch.Generator], Found]
"""From the model, in evaluation mode, to tensors by name, of shapes that stay: clusters, means."""

EpisodeLoss = Callable[[nn.Module, Mapping[str, Tensor], Found, torch.Generator], Tensor]
"""From the model, a batch, what was found and a source of draws to a scalar."""


class EpisodeLearner(Learner):
    """A loss that is taught by what the model itself finds in the data, episode by episode.

        step 0, T, 2T, ...:   found = look(model)        without gradient, in evaluation mode
        every step:           L = loss(model, batch, found)

    What was found and the number of the step are saved with the weights: a run that was stopped
    within an episode goes on with that episode's clusters.

    Args:
        model: What is trained.
        look: Looks at all data, which it holds itself; its draws depend on the step alone.
        loss: Of a batch.
        every: T, steps of an episode, at least 1.
        parts: Further modules that the loss trains, learned temperatures for example.

    Raises:
        ConventionError: There is no step in an episode, or nothing is found.
        ShapeError: In a step, what was found has other shapes than before.

    Source: Caron et al. 2018 (deep clustering); Chen et al. 2023 (ProtoCLIP), its episodes.
    """

    done: Tensor

    def __init__(
        self,
        model: nn.Module,
        look: Look,
        loss: EpisodeLoss,
        *,
        every: int,
        parts: nn.Module | None = None,
    ) -> None:
        super().__init__(model)
        if every < 1:
            raise ConventionError(
                expected="one step or more", got=str(every), argument="every",
                advice="An episode is often an epoch.",
            )  # fmt: skip
        self.look, self.loss, self.every, self.parts = look, loss, every, parts
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))
        found = self._looked(torch.Generator().manual_seed(0))
        if not found:
            raise ConventionError(
                expected="at least one tensor", got="none", argument="look",
                advice="Return what the loss reads, {'cluster': cluster}.",
            )  # fmt: skip
        self._names = tuple(found)
        for name, value in found.items():
            self.register_buffer(f"found_{name}", value.clone())

    def found(self) -> dict[str, Tensor]:
        """What the last look found."""
        return {name: self.get_buffer(f"found_{name}") for name in self._names}

    def forward(self, **batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; at the start of an episode after a look."""
        generator = torch.Generator() if self.generator is None else self.generator
        if self.training:
            if int(self.done) % self.every == 0:
                self._keep(self._looked(generator))
            self.done += 1
        value = self.loss(self.model, batch, self.found(), generator)
        return value, {"episode": value.detach()}

    @torch.no_grad()
    def _looked(self, generator: torch.Generator) -> Found:
        mode = self.model.training
        self.model.eval()
        try:
            return self.look(self.model, generator)
        finally:
            self.model.train(mode)

    def _keep(self, found: Found) -> None:
        for name, value in self.found().items():
            if name not in found or found[name].shape != value.shape:
                raise ShapeError(
                    expected=f"{name} of shape {tuple(value.shape)}, as at first",
                    got=str({n: tuple(x.shape) for n, x in found.items()}), argument="look",
                    advice="Keep empty clusters, and mask them in the loss.",
                )  # fmt: skip
            value.copy_(found[name])
