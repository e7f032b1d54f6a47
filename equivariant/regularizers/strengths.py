"""How strongly each candidate symmetry is asked for, and how that is tuned while training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.shapes import Float

_LEAST = 1e-30


class Strengths(ABC):
    """One strength λ per candidate group, or per layer and group; a rule that changes them.

    :class:`SoftEquivariance` calls :meth:`start` once and :meth:`update` after every evaluation
    that is part of a training step.
    """

    values: Tensor
    """The strengths, shape (groups,) or (layers, groups), float64."""

    @abstractmethod
    def start(self, layers: int, groups: int) -> None:
        """Set the strengths for a number of layers and candidates."""

    def update(self, table: Float[Tensor, "layers groups"]) -> None:
        """Take notice of the penalties of one training step, detached, float64.

        By default nothing changes.
        """
        return

    def state(self) -> dict[str, Tensor]:
        """What has to be saved so that training can go on; :meth:`restore` takes it."""
        return {name: value.clone() for name, value in vars(self).items()
                if isinstance(value, Tensor)}  # fmt: skip

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from :meth:`state`."""
        for name, value in state.items():
            setattr(self, name, value.clone())


class Fixed(Strengths):
    """Strengths that do not change.

    Args:
        value: λ of all candidates, or one for each, at least 0.

    Raises:
        ConventionError: A strength is negative, or their number is not that of the candidates.

    Example:
        >>> strengths = Fixed([1.0, 0.1])
        >>> strengths.start(layers=3, groups=2)
        >>> strengths.values.tolist()
        [1.0, 0.1]
    """

    def __init__(self, value: float | Sequence[float] = 1.0) -> None:
        self._given = value

    def start(self, layers: int, groups: int) -> None:
        self.values = start_values(self._given, groups)


class OneShot(Strengths):
    """The paper's rule: equal strengths first; once, those of broken symmetries are divided away.

        at step ``at``:   λ_g ← λ_g / (R_g / min_h R_h)^power

    R_g is the penalty of group g, all layers together, as it was in the steps ``at - window`` to
    ``at``: kept whenever that of any group became smaller than before, after ``warm_up`` of them.
    The symmetry that the data respect most keeps its strength. If all R are equal nothing changes.

    Args:
        value: λ before, at least 0.
        at: Step of the change, at least 1.
        power: p, at least 0.
        window: Steps before ``at`` in which penalties are watched, at least 1.
        warm_up: How many of these are skipped, below window.

    Raises:
        ConventionError: A number is out of range.

    Example:
        >>> rule = OneShot(100.0, at=1, window=1, warm_up=0)
        >>> rule.start(layers=1, groups=2)
        >>> rule.update(torch.tensor([[0.1, 1.0]]).double())
        >>> rule.values.round(decimals=6).tolist()
        [100.0, 1.0]

    Source: Kim et al. 2023 and published code.
    """

    def __init__(
        self, value: float | Sequence[float], *, at: int, power: float = 2.0, window: int = 100,
        warm_up: int = 50,
    ) -> None:  # fmt: skip
        whole = all(n == int(n) for n in (at, window, warm_up))
        if not whole or at < 1 or not power >= 0 or window < 1 or not 0 <= warm_up < window:
            raise ConventionError(
                expected="whole at and window of at least 1, power of at least 0, warm_up < window",
                got=f"at={at}, power={power}, window={window}, warm_up={warm_up}", argument="at",
                advice="The paper has power 2, a window of 100 epochs, warm_up 50.",
            )  # fmt: skip
        self._given, self.at, self.power = value, at, power
        self.window, self.warm_up = window, warm_up

    def start(self, layers: int, groups: int) -> None:
        self.values = start_values(self._given, groups)
        self.seen = torch.full((groups,), torch.inf, dtype=torch.float64)
        self.step = torch.zeros((), dtype=torch.long)

    def update(self, table: Float[Tensor, "layers groups"]) -> None:
        self.step = self.step + 1
        step, now = int(self.step), table.sum(0)
        if step > self.at:
            return
        if step > self.at - self.window + self.warm_up and bool((now < self.seen).any()):
            self.seen = now.clone()
        if step == self.at:
            seen = torch.where(self.seen.isinf(), now, self.seen)
            self.values = self.values / _ratios(seen, self.values) ** self.power


class Smooth(Strengths):
    """The same rule at every step: λ_g = value (min_h R_h / R_g)^power of averaged penalties.

        log R̄_g ← decay log R̄_g + (1 - decay) log R_g

    Args:
        value: λ of the symmetry that is respected most, at least 0.
        power: At least 0.
        decay: In [0, 1).
        warm_up: Steps in which strengths stay equal, at least 0.

    Raises:
        ConventionError: A number is out of range.

    Example:
        >>> rule = Smooth(1.0, power=1.0, decay=0.0, warm_up=0)
        >>> rule.start(layers=1, groups=2)
        >>> rule.update(torch.tensor([[0.5, 1.0]]).double())
        >>> rule.values.tolist()
        [1.0, 0.5]
    """

    def __init__(
        self, value: float | Sequence[float], *, power: float = 2.0, decay: float = 0.99,
        warm_up: int = 100,
    ) -> None:  # fmt: skip
        if not power >= 0 or not 0 <= decay < 1 or not warm_up >= 0:
            raise ConventionError(
                expected="power and warm_up of at least 0, decay in [0, 1)",
                got=f"power={power}, decay={decay}, warm_up={warm_up}", argument="decay",
                advice="0.99 averages over about a hundred steps.",
            )  # fmt: skip
        self._given, self.power, self.decay, self.warm_up = value, power, decay, warm_up

    def start(self, layers: int, groups: int) -> None:
        self.initial = start_values(self._given, groups)
        self.values = self.initial.clone()
        self.logs = torch.zeros(groups, dtype=torch.float64)
        self.step = torch.zeros((), dtype=torch.long)

    def update(self, table: Float[Tensor, "layers groups"]) -> None:
        now = table.sum(0).clamp(min=_LEAST).log()
        first = int(self.step) == 0
        self.logs = now if first else self.decay * self.logs + (1 - self.decay) * now
        self.step = self.step + 1
        if int(self.step) > self.warm_up:
            self.values = self.initial / _ratios(self.logs.exp(), self.initial) ** self.power


class PrimalDual(Strengths):
    """Constraints R ≤ tolerance + u with multipliers: free first, tightened as far as data allow.

        μ ← max(0, μ + rate (R - tolerance - u)),   u = μ / slack_cost
        λ = μ + sharpness max(0, R - tolerance - u)

    u is the slack that minimizes ½ slack_cost u² against its multiplier: a symmetry that costs much
    keeps a part of its violation, one that costs nothing is driven to zero. ``sharpness`` is the
    quadratic term of an augmented Lagrangian. With ``per_layer`` every layer has constraints of its
    own.

    Args:
        rate: Of the multipliers, above 0.
        slack_cost: Above 0; infinite for hard constraints.
        tolerance: Violation that counts as none, at least 0.
        sharpness: At least 0.
        per_layer: Whether each layer is constrained by itself.

    Raises:
        ConventionError: A number is out of range.

    Example:
        >>> rule = PrimalDual(rate=0.5)
        >>> rule.start(layers=1, groups=2)
        >>> rule.update(torch.tensor([[2.0, 0.0]]).double())
        >>> rule.values.tolist()
        [1.0, 0.0]

    Source: Manolache, Chamon, Niepert 2025, there on how much of a free branch is mixed in.
    """

    def __init__(
        self, *, rate: float = 0.01, slack_cost: float = float("inf"), tolerance: float = 0.0,
        sharpness: float = 0.0, per_layer: bool = False,
    ) -> None:  # fmt: skip
        numbers = rate > 0 and slack_cost > 0 and tolerance >= 0 and sharpness >= 0
        if not numbers:
            raise ConventionError(
                expected="rate and slack_cost above 0, tolerance and sharpness of at least 0",
                got=f"rate={rate}, slack_cost={slack_cost}, tolerance={tolerance}, "
                f"sharpness={sharpness}", argument="rate",
                advice="Multipliers grow by rate times the violation in every step.",
            )  # fmt: skip
        self.rate, self.slack_cost, self.tolerance = rate, slack_cost, tolerance
        self.sharpness, self.per_layer = sharpness, per_layer

    def start(self, layers: int, groups: int) -> None:
        shape = (layers, groups) if self.per_layer else (groups,)
        self.multipliers = torch.zeros(shape, dtype=torch.float64)
        self.values = self.multipliers.clone()

    def update(self, table: Float[Tensor, "layers groups"]) -> None:
        violation = table if self.per_layer else table.sum(0)
        excess = violation - self.tolerance - self.multipliers / self.slack_cost
        self.multipliers = (self.multipliers + self.rate * excess).clamp(min=0.0)
        excess = violation - self.tolerance - self.multipliers / self.slack_cost
        self.values = self.multipliers + self.sharpness * excess.clamp(min=0.0)


class ValidationDriven(Strengths):
    """Strengths that grow where the penalty's gradient also lowers the loss on validation data.

        log λ_g ← log λ_g + rate ⟨∇L_val, ∇R_g⟩ / (|∇L_val| |∇R_g|)

    A step along -λ_g ∇R_g changes the validation loss by -λ_g ⟨∇L_val, ∇R_g⟩ to first order, so
    this is a step down the derivative of the validation loss with respect to log λ_g, its size
    fixed. Called with gradients by :meth:`SoftEquivariance.validate`.

    Args:
        value: λ at the start, above 0.
        rate: Above 0.
        bounds: Smallest and largest λ.

    Raises:
        ConventionError: A number is out of range.

    Example:
        >>> rule = ValidationDriven(1.0, rate=0.1)
        >>> rule.start(layers=1, groups=2)
        >>> rule.learn(torch.tensor([1.0, -1.0]).double())
        >>> rule.values.round(decimals=4).tolist()
        [1.1052, 0.9048]
    """

    def __init__(
        self, value: float | Sequence[float], *, rate: float = 0.05,
        bounds: tuple[float, float] = (1e-6, 1e6),
    ) -> None:  # fmt: skip
        if not rate > 0 or not 0 < bounds[0] < bounds[1]:
            raise ConventionError(
                expected="a rate above 0 and bounds 0 < low < high", got=f"{rate}, {bounds}",
                argument="rate", advice="Strengths change by at most e^rate in one call.",
            )  # fmt: skip
        self._given, self.rate, self.bounds = value, rate, bounds

    def start(self, layers: int, groups: int) -> None:
        self.values = start_values(self._given, groups).clamp(*self.bounds)

    def learn(self, alignments: Float[Tensor, " groups"]) -> None:
        """Change strengths by cosines of the two gradients, shape (groups,), in [-1, 1]."""
        moved = self.values * (self.rate * alignments.double()).exp()
        self.values = moved.clamp(*self.bounds)


def start_values(given: float | Sequence[float], groups: int) -> Tensor:
    """One strength for each of a number of groups, shape (groups,), float64.

    Raises:
        ConventionError: A strength is negative, or there are more or fewer than groups.
    """
    raw: object = given
    known = raw is not None and not isinstance(raw, str)
    values = torch.as_tensor(given if known else torch.nan, dtype=torch.float64)
    if values.ndim == 0:
        values = values.expand(groups).clone()
    if tuple(values.shape) != (groups,) or not bool(((values >= 0) & values.isfinite()).all()):
        raise ConventionError(
            expected=f"a rule, one strength, or {groups}, finite and at least 0", got=repr(given),
            argument="value", advice="Strengths stand in the order of the candidates.",
        )  # fmt: skip
    return values


def _ratios(penalties: Tensor, strengths: Tensor) -> Tensor:
    """R_g over the smallest of those whose strength is not zero, at least 1 each."""
    floored = penalties.clamp(min=_LEAST)
    asked = floored[strengths > 0]
    return (floored / asked.min()).clamp(min=1.0) if len(asked) else torch.ones_like(floored)
