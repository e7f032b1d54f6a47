"""Rules against loops, in evaluation and with Gumbel's noise."""

from __future__ import annotations

import pytest
import torch

from equivariant.errors import EquivariantError
from equivariant.nn import ProductionSystem


def system(**settings):
    torch.manual_seed(0)
    return ProductionSystem(4, rules=3, hidden=6, **settings).double().eval()


def change(own, rule, primary, context, slots):
    pair = torch.cat([slots[primary], slots[context]])
    hidden = (pair @ own.first[rule] + own.first_bias[rule]).relu()
    return hidden @ own.second[rule] + own.second_bias[rule]


def one_by_one(own, slots, times):
    """Sequential application by loops, one batch entry."""
    slots, chosen = slots.clone(), []
    for _ in range(times):
        scores = {
            (r, p): float(own.rule_query(own.rules[r]) @ own.slot_key(slots[p]))
            for r in range(3) for p in range(len(slots))
        }  # fmt: skip
        rule, primary = max(scores, key=scores.get)
        reads = [float(own.context_query(slots[primary]) @ own.context_key(s)) for s in slots]
        context = reads.index(max(reads))
        moved = slots.clone()
        moved[primary] += change(own, rule, primary, context, slots)
        slots = moved
        chosen.append((rule, primary, context))
    return slots, chosen


@torch.no_grad()
def test_applications_by_loops():
    own, slots = system(applications=4), torch.randn(5, 6, 4, dtype=torch.float64)
    moved, choice = own(slots)
    for b in range(5):
        expected, chosen = one_by_one(own, slots[b], 4)
        torch.testing.assert_close(moved[b], expected)
        found = torch.stack([choice.rule[b], choice.primary[b], choice.context[b]], 1)
        assert found.tolist() == [list(c) for c in chosen]
    once, first = system(applications=1)(slots)
    changed = (once != slots).any(2)
    assert torch.equal(changed.nonzero()[:, 1], first.primary[:, 0])  # one slot, no other
    twin = one_by_one(own, slots[0].flip(0), 4)[0]  # slots renumbered: so is the result
    torch.testing.assert_close(twin, moved[0].flip(0))


@torch.no_grad()
def test_parallel_rules_by_loops():
    own, slots = system(parallel=True), torch.randn(2, 6, 4, dtype=torch.float64)
    moved, choice = own(slots)
    for b in range(2):
        for p in range(6):
            scores = [float(own.rule_query(r) @ own.slot_key(slots[b, p])) for r in own.rules]
            rule = scores.index(max(scores))
            reads = own.context_query(slots[b, p]) @ own.context_key(slots[b]).T
            context = int(reads.argmax())
            expected = slots[b, p] + change(own, rule, p, context, slots[b])
            torch.testing.assert_close(moved[b, p], expected)
            assert (choice.rule[b, p], choice.context[b, p]) == (rule, context)
    fewer, _ = own(slots[:, :3])  # any number of slots
    assert fewer.shape == (2, 3, 4)
    twin = slots + change_of_the_mean(own, slots)
    assert (twin - moved).abs().max() > 1e-2


def change_of_the_mean(own, slots):
    """A twin in which every rule acts a little and reads all slots."""
    pair = torch.cat([slots, slots.mean(1, keepdim=True).expand_as(slots)], 2)
    hidden = (torch.einsum("bnd,rdh->bnrh", pair, own.first) + own.first_bias).relu()
    return (torch.einsum("bnrh,rhd->bnrd", hidden, own.second) + own.second_bias).mean(2)


def test_draws_have_gumbel_probabilities_and_a_gradient():
    own = system(parallel=True).train()
    slots = torch.randn(1, 3, 4, dtype=torch.float64)
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        rules = torch.cat([own(slots, generator=draws)[1].rule for _ in range(3000)])
        p = own._rule_scores(slots)[0].softmax(0)
    for slot in range(3):
        share = torch.bincount(rules[:, slot], minlength=3) / 3000
        torch.testing.assert_close(share.double(), p[:, slot], atol=0.04, rtol=0)
    own(slots, generator=draws)[0].square().sum().backward()
    assert own.rules.grad.abs().max() > 0 and own.context_query.weight.grad.abs().max() > 0
    again = [own(slots, generator=torch.Generator().manual_seed(2))[0] for _ in range(2)]
    assert torch.equal(*again)


def test_refusals():
    for settings in ({"rules": 0}, {"rules": 2, "applications": 0}, {"rules": 2, "tau": 0.0}):
        with pytest.raises(EquivariantError):
            ProductionSystem(4, **settings)
