"""Terms that draw a learned action towards its group's law, against loops and by training."""

import pytest
import torch
from torch.nn.functional import normalize

from equivariant.actions import Action, Trivial, Vectors
from equivariant.errors import ConventionError
from equivariant.groups import SO3, Spin3
from equivariant.losses import Objective, preset
from equivariant.nn import Hypernetwork
from equivariant.recipes.sie_3diebench.models import ModelConfig, build_learner
from equivariant.training import GroupLawLearner, PairLearner, group_law_terms


class Right(Action):
    """Vectors moved by R⁻¹: elements act on the right."""

    def __init__(self):
        super().__init__(SO3(), 3)

    def forward(self, g, z):
        return (g.mT.to(z.dtype) @ z.unsqueeze(-1)).squeeze(-1)


def drawn(count=5, dim=3):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return SO3().sample(count, generator=generator), z


def naive_quaternion_law(weight, q, z):
    """The three terms of a right action of unit quaternions, number by number."""

    def times(a, b):
        ax, ay, az, aw = a
        bx, by, bz, bw = b
        return [
            aw * bx + ax * bw + ay * bz - az * by, aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw, aw * bw - ax * bx - ay * by - az * bz,
        ]  # fmt: skip

    def moved(numbers, vector):
        return sum(float(n) * weight[k] @ vector for k, n in enumerate(numbers))

    def square(one, other):
        return float((one - other).square().mean()) / len(q)

    law = {"identity": 0.0, "inverse": 0.0, "composition": 0.0}
    for i in range(len(q)):
        g, h, v = q[i].tolist(), q[(i + 1) % len(q)].tolist(), z[i]
        law["identity"] += square(moved([0, 0, 0, 1], v), v)
        law["inverse"] += square(moved([-g[0], -g[1], -g[2], g[3]], moved(g, v)), v)
        law["composition"] += square(moved(h, moved(g, v)), moved(times(g, h), v))
    return law


def test_terms_are_their_formulas_on_signed_quaternions():
    torch.manual_seed(0)
    action = Hypernetwork(Spin3(), 4).double()
    q = normalize(torch.randn(5, 4, dtype=torch.float64), dim=-1)
    z = torch.randn(5, 4, dtype=torch.float64)
    found = group_law_terms(action, Spin3().from_quaternion_xyzw(q), z, side="right")
    expected = naive_quaternion_law(action.weight.detach(), q, z)
    assert {k: float(v.detach()) for k, v in found.items()} == pytest.approx(expected, rel=1e-9)


def test_actions_obey_the_law_on_their_side_only():
    g, z = drawn()
    for action, side in ((Vectors(SO3(), channels=1), "left"), (Right(), "right")):
        right = group_law_terms(action, g, z, side=side)
        assert all(float(x) < 1e-20 for x in right.values())
        other = "right" if side == "left" else "left"
        assert float(group_law_terms(action, g, z, side=other)["composition"]) > 0.1


def test_the_learner_adds_the_terms_and_moves_the_action_alone():
    config = ModelConfig(width=2, projector=(8, 8), group_law=0.7)
    learner, plain = (
        build_learner(c, classes=2, seed=0)
        for c in (config, ModelConfig(width=2, projector=(8, 8)))
    )
    assert isinstance(learner, GroupLawLearner)
    assert type(plain) is PairLearner
    a, b = torch.rand(2, 6, 3, 8, 8)
    q = normalize(torch.randn(6, 4), dim=-1)
    g = Spin3().from_quaternion_xyzw(q)
    total, terms = learner(a, b, g)
    base, _ = plain(a, b, g)
    law = sum(terms[f"law_{name}"] for name in ("identity", "inverse", "composition"))
    torch.testing.assert_close(total, base + 0.7 * law)
    total.backward()
    base.backward()
    pairs = zip(learner.model.named_parameters(), plain.model.parameters(), strict=True)
    for (name, one), other in pairs:
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    own = [p.objective.action.summands[-1].weight.grad for p in (learner, plain)]
    assert not torch.allclose(*own)


def test_descending_the_terms_makes_a_hypernetwork_more_of_a_homomorphism():
    torch.manual_seed(0)
    action = Hypernetwork(SO3(), 3, "matrix", gain=1.0).double()
    optimizer = torch.optim.Adam(action.parameters(), lr=0.02)
    generator = torch.Generator().manual_seed(1)
    values = []
    for _ in range(150):
        g = SO3().sample(32, generator=generator)
        z = torch.randn(32, 3, generator=generator, dtype=torch.float64)
        loss = sum(group_law_terms(action, g, z).values())
        values.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert values[-1] < 0.1 * values[0]


def test_what_cannot_be_drawn_is_refused():
    fixed = Objective(preset("exact").plan, Trivial(3) + Vectors(SO3(), channels=1))
    with pytest.raises(ConventionError, match="learned"):
        GroupLawLearner(torch.nn.Linear(3, 6), fixed)
    for settings in ({"method": "exact"}, {"method": "simclr"}, {"method": "sie"}):
        with pytest.raises(ConventionError, match="group_law"):
            ModelConfig(**settings, group_law=-1.0 if settings["method"] == "sie" else 1.0)
