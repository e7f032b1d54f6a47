"""The law by which states of joints are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.articulated.mechanism import Mechanism
from equivariant.errors import ConventionError


@dataclass(frozen=True)
class JointLaw:
    """Independent states, uniform over a share of each joint's range.

        q = low + u (high - low),   u uniform in [from_share, to_share]

    ``JointLaw(0.5, 0.5)`` is the one state in the middle of all ranges: train on it, and test on
    ``JointLaw()``.

    Args:
        from_share: In [0, 1].
        to_share: In [from_share, 1].

    Raises:
        ConventionError: The shares are no interval in [0, 1].

    Example:
        >>> from datasets3d.meshes.articulated.mechanism import Joint
        >>> lid = Joint("lid", "hinge", 0, 1, (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.0, 2.0)
        >>> chest = Mechanism(("box", "lid"), (lid,))
        >>> JointLaw(0.5, 0.5).draw(chest, np.random.default_rng(0)).tolist()
        [1.0]
    """

    from_share: float = 0.0
    to_share: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.from_share <= self.to_share <= 1.0:
            raise ConventionError(
                expected="0 <= from_share <= to_share <= 1",
                got=f"{self.from_share} and {self.to_share}",
                argument="from_share",
                advice="JointLaw() takes the whole ranges.",
            )

    def draw(self, mechanism: Mechanism, generator: np.random.Generator) -> NDArray[np.float64]:
        """One state.

        Args:
            mechanism: Whose.
            generator: Source of one uniform number per joint.

        Returns:
            Radians of hinges, lengths of slides, shape (joints,), float64.
        """
        return self.state(mechanism, generator.random(len(mechanism.joints)))

    def state(self, mechanism: Mechanism, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """The states that belong to numbers of the unit interval.

        Args:
            mechanism: Whose.
            u: In [0, 1], shape (..., joints).

        Returns:
            Radians of hinges, lengths of slides, shape (..., joints), float64.
        """
        low, high = mechanism.limits.T
        share = self.from_share + u * (self.to_share - self.from_share)
        state: NDArray[np.float64] = low + share * (high - low)
        return state
