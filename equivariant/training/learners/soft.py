"""Regression with a term of soft equivariance."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import mse_loss

from equivariant.regularizers import LayerRelaxation, SoftEquivariance
from equivariant.training.learners.pairs import Learner


class SoftLearner(Learner):
    """Mean squared error, a term of soft equivariance, and the model's own prior.

        L = mean |f(x) - y|² + Σ_g λ_g Σ_l R(W_l, g) + prior

    The strengths λ are buffers, so a run that was interrupted goes on with them. Draws of a
    sampled penalty depend on the step alone.

    Args:
        model: x to y; a method ``prior()``, if it has one, is added to the loss.
        term: The term; None for none.
        relaxation: Applied to the weights before every step but the first, which is after every
            step of the optimizer; None for none.
    """

    def __init__(
        self,
        model: nn.Module,
        term: SoftEquivariance | None = None,
        *,
        relaxation: LayerRelaxation | None = None,
    ) -> None:
        super().__init__(model)
        self.term, self.relaxation = term, relaxation
        if term is not None:
            for name, value in term.strengths.state().items():
                self.register_buffer(f"strengths_{name}", value)

    def forward(self, x: Tensor, y: Tensor, **unused: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of inputs x and targets y, and its parts."""
        if self.relaxation is not None and self.relaxation.ready:
            self.relaxation.step()
        error = mse_loss(self.model(x), y)
        total, terms = error, {"mse": error.detach()}
        if self.term is not None:
            asked = self._term(self.term)
            total, terms["soft"] = total + asked, asked.detach()
        prior = getattr(self.model, "prior", None)
        return (total if prior is None else total + prior()), terms

    def _term(self, term: SoftEquivariance) -> Tensor:
        """The term, with the strengths of the buffers, which are brought up to date."""
        names = term.strengths.state()
        term.strengths.restore({n: getattr(self, f"strengths_{n}").cpu() for n in names})
        if self.generator is not None:
            term.generator = self.generator
        found = term()
        for name, value in term.strengths.state().items():
            getattr(self, f"strengths_{name}").copy_(value)
        return found
