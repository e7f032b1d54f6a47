"""A few rules, each of which changes one slot as another one asks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.shapes import Float, Int


@dataclass(frozen=True)
class RuleChoice:
    """Which rules were applied, to which slots, in the context of which.

    Args:
        rule: Shape (batch, applications), int64.
        primary: The slot that was changed, shape (batch, applications), int64.
        context: The slot that was read, shape (batch, applications), int64.
    """

    rule: Int[Tensor, "batch t"]
    primary: Int[Tensor, "batch t"]
    context: Int[Tensor, "batch t"]


class ProductionSystem(nn.Module):
    """Slots changed by rules: condition and action are apart, and a rule changes one slot.

        (r, p) = argmax_(r, p) ⟨R_r Q, V_p K⟩ + noise        which rule, which primary slot
        c      = argmax_c ⟨V_p Q', V_c K'⟩ + noise           which slot it reads
        V_p   ← V_p + MLP_r([V_p, V_c])

    one after the other ``applications`` times; or, with ``parallel``, every slot is the primary of
    one application, with the rule argmax_r ⟨R_r Q, V_p K⟩. In training the noise is Gumbel's and
    the gradient that of the softmax (straight through); in evaluation there is none. As one rule
    serves any slot, the number of slots may be another one than in training; renumbering slots
    renumbers the result.

    Args:
        dim: Width of a slot.
        rules: Number of rules, at least 1.
        hidden: Width of the rules' hidden layer, and of keys.
        applications: Of rules in one call, at least 1, where they are not parallel.
        parallel: Whether every slot is changed by one rule.
        tau: Temperature of the softmax whose gradient is taken, above 0.

    Raises:
        ConventionError: A setting is out of range.

    Example:
        >>> system = ProductionSystem(6, rules=3, parallel=True)
        >>> slots = torch.randn(2, 5, 6)
        >>> moved, choice = system(slots)
        >>> moved.shape, choice.rule.shape
        (torch.Size([2, 5, 6]), torch.Size([2, 5]))

    Source: Goyal et al. 2021 (neural production systems), algorithms 1 and 2.
    """

    def __init__(
        self,
        dim: int,
        *,
        rules: int,
        hidden: int = 32,
        applications: int = 1,
        parallel: bool = False,
        tau: float = 1.0,
    ) -> None:
        super().__init__()
        if min(dim, rules, hidden, applications) < 1 or not tau > 0:
            raise ConventionError(
                expected="positive settings",
                got=f"dim={dim}, rules={rules}, applications={applications}, tau={tau}",
                argument="rules", advice="A few rules and one application are a start.",
            )  # fmt: skip
        self.applications, self.parallel, self.tau = applications, parallel, tau
        self.rules = nn.Parameter(torch.randn(rules, hidden) / hidden**0.5)
        self.rule_query = nn.Linear(hidden, hidden, bias=False)
        self.slot_key = nn.Linear(dim, hidden)
        self.context_query, self.context_key = nn.Linear(dim, hidden), nn.Linear(dim, hidden)
        self.first = nn.Parameter(torch.randn(rules, 2 * dim, hidden) / (2 * dim) ** 0.5)
        self.first_bias = nn.Parameter(torch.zeros(rules, hidden))
        self.second = nn.Parameter(torch.randn(rules, hidden, dim) / hidden**0.5)
        self.second_bias = nn.Parameter(torch.zeros(rules, dim))

    def forward(
        self, slots: Float[Tensor, "batch k d"], *, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "batch k d"], RuleChoice]:
        """Slots after the rules, and which were applied.

        Args:
            slots: Shape (batch, slots, dim).
            generator: Of the noise in training, on the CPU; None takes PyTorch's own.
        """
        if self.parallel:
            return self._all_slots(slots, generator)
        chosen: list[tuple[Tensor, Tensor, Tensor]] = []
        for _ in range(self.applications):
            scores = self._rule_scores(slots)  # (batch, rules, slots)
            pick = self._picked(scores.flatten(1), generator).unflatten(1, scores.shape[1:])
            rule, primary = pick.sum(2), pick.sum(1)
            own = (primary[:, :, None] * slots).sum(1, keepdim=True)
            context = self._context(own, slots, generator)
            change = self._change(rule[:, None], own, context @ slots)
            slots = slots + primary[:, :, None] * change
            chosen.append((rule.argmax(1), primary.argmax(1), context[:, 0].argmax(1)))
        rule, primary, context = (torch.stack(each, 1) for each in zip(*chosen, strict=True))
        return slots, RuleChoice(rule, primary, context)

    def _all_slots(
        self, slots: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, RuleChoice]:
        rule = self._picked(self._rule_scores(slots).transpose(1, 2), generator)
        context = self._context(slots, slots, generator)
        primary = torch.arange(slots.shape[1], device=slots.device).expand(slots.shape[:2])
        choice = RuleChoice(rule.argmax(2), primary, context.argmax(2))
        return slots + self._change(rule, slots, context @ slots), choice

    def _rule_scores(self, slots: Tensor) -> Tensor:
        scores: Tensor = self.rule_query(self.rules) @ self.slot_key(slots).transpose(1, 2)
        return scores

    def _context(self, own: Tensor, slots: Tensor, generator: torch.Generator | None) -> Tensor:
        """Which slot each of ``own`` reads, one-hot, shape (batch, n, slots)."""
        scores = self.context_query(own) @ self.context_key(slots).transpose(1, 2)
        return self._picked(scores / self.rules.shape[1] ** 0.5, generator)

    def _change(self, rule: Tensor, own: Tensor, context: Tensor) -> Tensor:
        """What the chosen rules make of pairs of slots, shape (batch, n, dim)."""
        pair = torch.cat([own, context], 2)
        hidden = torch.einsum("bnd,rdh->bnrh", pair, self.first) + self.first_bias
        each = torch.einsum("bnrh,rhd->bnrd", hidden.relu(), self.second) + self.second_bias
        return (rule[..., None] * each).sum(2)

    def _picked(self, scores: Tensor, generator: torch.Generator | None) -> Tensor:
        """One-hot of the largest along the last axis, with the gradient of the softmax."""
        if self.training:
            u = torch.rand(scores.shape, generator=generator, dtype=torch.float64)
            noise = -(-u.clamp(1e-12, 1 - 1e-12).log()).log()
            scores = (scores + noise.to(scores)) / self.tau
        hard = torch.zeros_like(scores).scatter(-1, scores.argmax(-1, keepdim=True), 1.0)
        soft = scores.softmax(-1)
        return hard + soft - soft.detach()
