"""Every preset fulfils the contract of objectives."""

from typing import ClassVar

import pytest
import torch

from equivariant.actions import Vectors
from equivariant.groups import SO3
from equivariant.losses import PRESETS, FunctionTerm, Loss, Side, equiangular_basis, preset
from equivariant.losses.presets.preset import REQUIRED
from equivariant.testing import ObjectiveContract

DIM = 6
GIVEN = {
    "samples": 40, "dim": DIM, "classes": 3, "action": Vectors(SO3(), channels=2), "clusters": 3,
    "prototypes": 8, "radius": 1.0, "width": DIM,
    "basis": equiangular_basis(3, DIM, dtype=torch.float64).vectors,
    "task_loss": lambda h, side: (h - side.get("target_of")).square().sum(1),
    "divergence": lambda h, side: (h - side.z).square().sum(1),
}  # fmt: skip
OTHER = {
    "amcl": {"dim": DIM // 3}, "sgw": {"groups": 2}, "meow": {}, "mochi": {"hardest": 4},
    "groco": {"count": 3},
}  # fmt: skip
# These draw, or know columns that go with the order (g2l).
DRAWING = {
    "symile", "mochi", "feature_transformation", "hallucinator", "supremix", "sgw", "claps", "g2l",
}  # fmt: skip


def names(objects, draw, generator):
    """What rows of any side may have to know."""

    def numbers(high, *shape):
        return torch.randint(high, (objects, *shape), generator=generator)

    label = torch.arange(objects) % 3
    return {
        "label": label, "features": draw(objects, 5), "salient": draw(objects, 4),
        "target": label % 2, "foreground": draw(objects, 4), "background": draw(objects, 4),
        "clusters": numbers(3, 3), "cluster": torch.arange(objects) % 3,
        "strength": draw(objects).abs(), "sample": torch.arange(objects),
        "sequence": torch.arange(objects) % 2, "position": draw(objects, 3),
        "pose": SO3().sample(objects, generator=generator), "target_of": draw(objects, DIM),
        "scores": draw(objects, 8), "targets": draw(objects, 5).softmax(1),
    }  # fmt: skip


class Preset(ObjectiveContract):
    """One preset; its name is set below."""

    name: ClassVar[str]
    ordered = ("bank", "centroids", "words", "negatives")
    least = 3

    @property
    def draws(self):
        return self.name in DRAWING

    def build(self):
        found = PRESETS[self.name]
        given = {n: GIVEN[n] for n, value in found.settings.items() if value is REQUIRED}
        if self.name in ("swav", "dino"):
            given["prototypes"] = 8
        plan = preset(self.name, **{**given, **OTHER.get(self.name, {})}).plan
        order = list(PRESETS[self.name].sides)
        return Loss(plan, slices=[slice(0, 3), slice(3, 6)], order=order)

    def sides(self, objects, generator):
        def draw(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        sides = {}
        for side in PRESETS[self.name].sides:
            known = names(objects, draw, generator)
            rows = {"bank": 9, "negatives": 9, "centroids": 3, "words": 5}.get(side, objects)
            if side == "centroids":
                known = {"cluster": torch.arange(3), "density": draw(3).abs() + 0.1}
            elif rows != objects or side in ("bank", "negatives", "words"):
                known = {"label": torch.arange(rows) % 3}
            if self.name == "g2l":
                known["geodesic"] = (torch.arange(objects)[:, None] - torch.arange(objects)).abs()
            if self.name == "pixpro":
                known["id"] = torch.arange(objects) % 2
            sides[side] = Side.of(draw(rows, DIM), **known)
        return sides


def test_the_contract_rejects_what_depends_on_the_order_and_what_is_not_finite():
    class OfTheOrder(Preset):
        name = "infonce"

        def build(self):
            return Loss([FunctionTerm("first", function=lambda a, b: a[0] @ b[0])])

    class NotFinite(Preset):
        name = "infonce"

        def build(self):
            return Loss([FunctionTerm("lengths", function=lambda a, b: a.norm(dim=1).log())])

    with pytest.raises(AssertionError):
        OfTheOrder().test_the_order_of_objects_does_not_matter()
    with pytest.raises(AssertionError):
        NotFinite().test_half_precision_equal_and_zero_vectors_stay_finite()


for _name in PRESETS:
    globals()[f"Test_{_name}"] = type(f"Test_{_name}", (Preset,), {"name": _name})
