"""Training in episodes: at the start of each, the model looks at all data anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
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

        at first, T, 2T, ...:   found = look(model)      without gradient, in evaluation mode
        every step:             L = loss(model, batch, found)

    The first look is that of the constructor, with draws of seed 0; step 0 looks again only if the
    model's weights are others by then. What was found and the number of the step are saved with the
    weights: a run that was stopped within an episode goes on with that episode's clusters. On
    several processes each looks, and finds the same; the step is that of the joined batch.

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
        self._names, self._seen = tuple(found), _digest(self.model)
        for name, value in found.items():
            self.register_buffer(f"found_{name}", value.clone())

    def found(self) -> dict[str, Tensor]:
        """What the last look found."""
        return {name: self.get_buffer(f"found_{name}") for name in self._names}

    def forward(self, **batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; at the start of an episode after a look."""
        generator = torch.Generator() if self.generator is None else self.generator
        if self.training:
            if self._due():
                self._keep(self._looked(generator))
            self.done += 1
        value = self.loss(self.model, batch, self.found(), generator)
        return value, {"episode": value.detach()}

    def _due(self) -> bool:
        """Whether an episode starts for which no look was taken."""
        step = int(self.done)
        return step % self.every == 0 and (step > 0 or _digest(self.model) != self._seen)

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


def _digest(model: nn.Module) -> str:
    """A digest of all weights and buffers, wherever they are."""
    digest = sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
