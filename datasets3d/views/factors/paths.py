"""Sequences of views: the object moves along a path, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.factors.angles import angles_of, rotation_matrix, turn_about
from datasets3d.views.factors.base import Range
from datasets3d.views.factors.draws import generator
from datasets3d.views.schema import Column
from equivariant.errors import ConventionError

STEP = ("turn_x_rad", "turn_y_rad", "turn_z_rad", "shift_x", "shift_y", "shift_z")
STEP_COLUMNS = tuple(
    Column(
        f"step_{name}", "rad" if name.startswith("turn") else "scene",
        "step of the sequence: the next view is at R' = exp(turn) R, p' = p + shift, in the world",
    )
    for name in STEP
)  # fmt: skip


@dataclass(frozen=True)
class ObjectPath:
    """Views follow one another in sequences, in which the object alone moves, evenly.

    View k is step t = k mod length of its sequence. The sequence's first view is drawn by the law;
    floor, light and all other factors keep its values; rotation and place go on as

        R_t = exp(t w) R_0,   p_t = p_0 + t d,

    w of uniform direction and uniform length, d a share 1 / (length - 1) of the way to another
    draw of the object's place, so that no view leaves its range; 0 without ObjectTranslation. Both
    are recorded in every latent of the sequence, in six last columns.

    Args:
        length: Views of a sequence, at least 2. Where the views of an object are no multiple of
            it, the last sequence is shorter.
        turn_max_rad: Largest turn of a step, radians, in [0, π].

    Raises:
        ConventionError: A setting is out of its range.

    Example:
        >>> from datasets3d import ViewLaw
        >>> law = ViewLaw(path=ObjectPath(length=4))
        >>> first, second, other = (law.sample(0, "chair/one", view=k) for k in (0, 1, 4))
        >>> bool((first[3:7] == second[3:7]).all()), bool((first[3:7] == other[3:7]).any())
        (True, False)
    """

    length: int = 8
    turn_max_rad: float = math.pi / 6

    def __post_init__(self) -> None:
        if not (self.length >= 2 and 0.0 <= self.turn_max_rad <= math.pi):
            raise ConventionError(
                expected="at least 2 views and a turn in [0, π]",
                got=f"{self.length} and {self.turn_max_rad}", argument="law.path",
                advice="See the documentation of ObjectPath.",
            )  # fmt: skip

    def ranges(self, places: Sequence[Range]) -> tuple[Range, ...]:
        """Lowest and highest value of each number of a step.

        Args:
            places: Ranges of the object's place; none where it does not vary.
        """
        turn = (-self.turn_max_rad, self.turn_max_rad)
        reach = [(high - low) / (self.length - 1) for low, high in places] or [0.0] * 3
        return (turn,) * 3 + tuple((-way, way) for way in reach)

    def latent(
        self,
        draw: Callable[[str, int], NDArray[np.float64]],
        dataset_seed: int,
        object_key: str,
        *,
        view: int,
        place: slice | None,
    ) -> NDArray[np.float64]:
        """The latent of a view, its step's columns last.

        Args:
            draw: The law without a path, of an object and a view.
            dataset_seed: Of the data set.
            object_key: ``<class>/<object id>``.
            view: Index of the view.
            place: Columns of the object's place; None where it does not vary.
        """
        sequence, step = divmod(view, self.length)
        first = draw(object_key, sequence * self.length)
        random = generator(dataset_seed, f"path|{object_key}", sequence)
        way = random.standard_normal(3)
        turn = self.turn_max_rad * random.random() * way / np.linalg.norm(way)
        shift = np.zeros(3)
        if place is not None:
            end = draw(f"path|{object_key}", sequence * self.length)[place]
            shift = (end - first[place]) / (self.length - 1)
            first[place] += step * shift
        if step:
            first[:3] = angles_of(turn_about(step * turn) @ rotation_matrix(first))
        return np.concatenate((first, turn, shift))
