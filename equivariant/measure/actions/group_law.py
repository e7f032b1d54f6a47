"""Whether an action, above all a learned one, obeys the law of its group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.measure.motions.motion import Motion, as_motion
from equivariant.measure.motions.per_item import by_item


@dataclass(frozen=True)
class GroupLawError:
    """Relative errors of an action at random pairs (g, h), shape (samples,) each, float64.

    Args:
        composition: |ρ(g) ρ(h) z - ρ(gh) z| / |ρ(gh) z|.
        reversed: |ρ(g) ρ(h) z - ρ(hg) z| / |ρ(hg) z|. Where this is small and ``composition`` is
            not, the action multiplies the other way round: rows for columns, or g for g⁻¹.
        identity: |ρ(e) z - z| / |z|, shape ().
        inverse: |ρ(g⁻¹) ρ(g) z - z| / |z|.
        effect: |ρ(g) z - z| / |z|: how much the action does at all. An action that ignores g
            obeys the law and moves nothing.
    """

    composition: Tensor
    reversed: Tensor
    identity: Tensor
    inverse: Tensor
    effect: Tensor

    @property
    def worst(self) -> float:
        """Largest of the composition, identity and inverse errors."""
        found = torch.cat([self.composition, self.identity.reshape(1), self.inverse])
        return float(found.max())

    def __str__(self) -> str:
        return (
            f"composition {float(self.composition.max()):.2e} worst (reversed "
            f"{float(self.reversed.max()):.2e}), identity {float(self.identity):.2e}, inverse "
            f"{float(self.inverse.max()):.2e}; moves by {float(self.effect.mean()):.2e}"
        )


def group_law_error(
    action: Any,
    z: Any,
    *,
    group: Group | None = None,
    samples: int = 32,
    scale: float = 1.0,
    generator: torch.Generator | None = None,
) -> GroupLawError:
    """Measure how far an action is from ρ(g) ρ(h) = ρ(gh) and ρ(e) = 1.

    Args:
        action: An action, a tree of actions, a function with ``group``, or a motion.
        z: What it acts on, with a batch axis in front; errors are of the batch as a whole.
        group: The group, where the action is a plain function or defined for every group.
        samples: Number of random pairs, at least 1.
        scale: Spread of the elements along directions that are not compact.
        generator: Source of the elements; None uses a fresh generator with seed 0.

    Raises:
        ConventionError: There is no group.
        ShapeError: The action does not fit z.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> z = torch.randn(8, 3, dtype=torch.float64)
        >>> group_law_error(Vectors(SO3()), z).worst < 1e-12
        True
        >>> other = lambda g, z: z @ g  # acts by the inverse: multiplies the other way round
        >>> error = group_law_error(other, z, group=SO3())
        >>> bool(error.composition.max() > 0.1), bool(error.reversed.max() < 1e-12)
        (True, True)
    """
    motion = as_motion(action, group)
    group = motion.group or group
    if group is None:
        raise ConventionError(
            expected="an action of a group",
            got="one that is defined for every group",
            argument="group",
            advice="Pass group=SO3() to say whose law is asked about.",
        )
    generator = generator or torch.Generator().manual_seed(0)
    device = next(iter(motion.parts(z).values())).tensor.device
    first, second = (
        group.sample(samples, generator=generator, scale=scale, device=device) for _ in "gh"
    )
    rows = []
    with torch.no_grad():
        for g, h in zip(first, second, strict=True):
            both = motion.move(g, motion.move(h, z))
            moved = motion.move(g, z)
            back = motion.move(group.inverse(g), moved)
            rows.append(
                [
                    _gap(motion, both, motion.move(group.compose(g, h), z)),
                    _gap(motion, both, motion.move(group.compose(h, g), z)),
                    _gap(motion, back, z),
                    _gap(motion, moved, z),
                ]
            )
        identity = _gap(motion, motion.move(group.identity().to(device), z), z)
    composition, reversed_, inverse, effect = torch.tensor(rows, dtype=torch.float64).unbind(1)
    return GroupLawError(
        composition=composition,
        reversed=reversed_,
        identity=torch.tensor(identity, dtype=torch.float64),
        inverse=inverse,
        effect=effect,
    )


def _squared_gap(motion: Motion, a: Any, b: Any, items: int) -> Tensor:
    """|a - b|² of each item over all compared parts, shape (items,), float64."""
    left, right = motion.parts(a), motion.parts(b)
    gaps = [
        by_item(
            (left[name].tensor.double() - part.tensor.double()).square().flatten(1).sum(1),
            part,
            items,
        )
        for name, part in right.items()
    ]
    return torch.stack(gaps).sum(0)


def _gap(motion: Motion, a: Any, b: Any) -> float:
    """|a - b| / |b| of a whole batch."""
    gap = float(_squared_gap(motion, a, b, motion.items(b)).sum()) ** 0.5
    parts = motion.parts(b).values()
    size = sum(float(part.tensor.double().square().sum()) for part in parts) ** 0.5
    return 0.0 if gap == 0.0 else gap / max(size, 1e-300)
