"""What varies from view to view: seven numbers and further factors, and the scene they give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.factors.angles import rotation_matrix, shell_angles
from datasets3d.views.factors.base import Factor
from datasets3d.views.factors.draws import generator
from datasets3d.views.factors.paths import STEP_COLUMNS, ObjectPath
from datasets3d.views.factors.placement import TRANSLATION
from datasets3d.views.schema import COLUMNS, Column
from equivariant.errors import ConventionError
from renderers.color import rgb_from_hsv
from renderers.scene import Camera, Floor, Mesh, Scene, Spot

RotationName = Literal["box", "haar", "vertical", "cone", "shell"]
Range = tuple[float, float]

SPOT_DISTANCE = 4.0
FLOOR_SATURATION = FLOOR_VALUE = 0.6
SPOT_SATURATION, SPOT_VALUE = 1.0, 0.8
FIELD_OF_VIEW_RAD = Camera().field_of_view_rad

__all__ = ["COLUMNS", "ViewLaw", "changed_scene", "generator", "rotation_matrix"]


@dataclass(frozen=True)
class ViewLaw:
    """The probability law of a view; the defaults are 3DIEBench's.

    All factors are independent and uniform. A range of one point fixes a factor. A latent is the
    seven numbers of 3DIEBench, then the columns of ``factors``, then those of ``path``.

    Args:
        rotation: "box": three extrinsic xyz Euler angles uniform in ±angle_max_rad. "haar":
            uniform over all rotations, stored as such angles. "vertical": only the turn about
            the vertical axis, uniform in ±angle_max_rad. "cone": uniform over the rotations
            that tilt the object's vertical axis by at most angle_max_rad. "shell": angles as in
            box, the one about y within ±π/2 so that no rotation has two names, given that at
            least one is beyond ±angle_min_rad: rotations that a box of that size never shows.
        angle_max_rad: Largest angle of box, vertical, cone and shell, radians, in (0, π].
        floor_hue: Range of the floor's hue, turns, in [0, 1].
        spot_theta_rad: Range of the light's angle from the vertical, radians, in [0, π/2).
        spot_phi_rad: Range of the light's azimuth, radians.
        spot_hue: Range of the light's hue, turns, in [0, 1].
        field_of_view_rad: Opening angle of the camera, radians, in (0, π); smaller shows the
            object larger. It is the same for all views, unless a factor varies it.
        angle_min_rad: Half the side of the box that shell leaves out, radians, in
            (0, angle_max_rad); 0 for the other rotations.
        factors: What else varies; see :class:`~datasets3d.views.factors.base.Factor`.
        path: Lets the object move through sequences of views; None draws every view by itself.

    Raises:
        ConventionError: A setting is out of its range, or two factors or columns have one name.

    Example:
        >>> latent = ViewLaw().sample(0, "chair/chair-000001", view=3)
        >>> latent.shape, bool((abs(latent[:3]) <= math.pi / 2).all())
        ((7,), True)
    """

    rotation: RotationName = "box"
    angle_max_rad: float = math.pi / 2
    floor_hue: Range = (0.0, 1.0)
    spot_theta_rad: Range = (0.0, math.pi / 4)
    spot_phi_rad: Range = (0.0, 2.0 * math.pi)
    spot_hue: Range = (0.0, 1.0)
    field_of_view_rad: float = FIELD_OF_VIEW_RAD
    angle_min_rad: float = 0.0
    factors: tuple[Factor, ...] = ()
    path: ObjectPath | None = None

    def __post_init__(self) -> None:
        if self.rotation not in ("box", "haar", "vertical", "cone", "shell"):
            _refuse("rotation", "box, haar, vertical, cone or shell", repr(self.rotation))
        shell = self.rotation == "shell"
        if not (0.0 < self.angle_min_rad < self.angle_max_rad if shell else not self.angle_min_rad):
            wanted = "an angle in (0, angle_max_rad) for shell, else 0"
            _refuse("angle_min_rad", wanted, str(self.angle_min_rad))
        for names in ([one.name for one in self.factors], [c.name for c in self.columns()]):
            if len(set(names)) < len(names):
                _refuse("factors", "different names of factors and columns", ", ".join(names))
        if not 0.0 < self.angle_max_rad <= math.pi:
            _refuse("angle_max_rad", "an angle in (0, π]", str(self.angle_max_rad))
        if not 0.0 < self.field_of_view_rad < math.pi:
            _refuse("field_of_view_rad", "an angle in (0, π)", str(self.field_of_view_rad))
        limits = {
            "floor_hue": (0.0, 1.0),
            "spot_hue": (0.0, 1.0),
            "spot_theta_rad": (0.0, math.pi / 2),
            "spot_phi_rad": (-2.0 * math.pi, 2.0 * math.pi),
        }
        for name, (lowest, highest) in limits.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                _refuse(name, f"low <= high within [{lowest:g}, {highest:g}]", f"{low}, {high}")

    def columns(self) -> tuple[Column, ...]:
        """Name, unit and meaning of each number of a latent."""
        further = tuple(column for factor in self.factors for column in factor.columns)
        return (*COLUMNS, *further, *(STEP_COLUMNS if self.path else ()))

    def ranges(self) -> tuple[Range, ...]:
        """Lowest and highest value of each number of a latent."""
        turn, limit = math.pi, self.angle_max_rad
        angles: dict[RotationName, tuple[Range, ...]] = {
            "box": ((-limit, limit),) * 3,
            "vertical": ((0.0, 0.0), (0.0, 0.0), (-limit, limit)),
            "haar": ((-turn, turn), (-turn / 2, turn / 2), (-turn, turn)),
            "shell": ((-limit, limit), (-min(limit, turn / 2), min(limit, turn / 2)),
                      (-limit, limit)),
        }  # fmt: skip
        any_turn = self.rotation == "cone" or self.path is not None
        rotation = angles["haar" if any_turn else self.rotation]
        rest = (self.floor_hue, self.spot_theta_rad, self.spot_phi_rad, self.spot_hue)
        further = tuple(span for factor in self.factors for span in factor.ranges())
        drawn = (*rotation, *rest, *further)
        if self.path is None:
            return drawn
        place = self._place()
        return (*drawn, *self.path.ranges(drawn[place] if place else ()))

    def sample(self, dataset_seed: int, object_key: str, *, view: int) -> NDArray[np.float64]:
        """The latent of one view: a function of its arguments alone.

        Args:
            dataset_seed: Of the data set, at least 0.
            object_key: ``<class>/<object id>``.
            view: Index of the view, from 0.

        Returns:
            Shape (columns,), float64, in the order of :meth:`columns`.
        """
        if self.path is None:
            return self._draw(dataset_seed, object_key, view)
        return self.path.latent(
            lambda key, first: self._draw(dataset_seed, key, first), dataset_seed, object_key,
            view=view, place=self._place(),
        )  # fmt: skip

    def _place(self) -> slice | None:
        """Columns of the object's place; None where it does not vary."""
        names = [column.name for column in self.columns()]
        first = names.index(TRANSLATION[0]) if TRANSLATION[0] in names else None
        return None if first is None else slice(first, first + 3)

    def _draw(self, dataset_seed: int, object_key: str, view: int) -> NDArray[np.float64]:
        """A latent of independent draws."""
        u = generator(dataset_seed, object_key, view).random(10)
        angles = (2.0 * u[:3] - 1.0) * self.angle_max_rad
        if self.rotation == "vertical":
            angles[:2] = 0.0
        elif self.rotation == "haar":
            angles = _haar_euler(u[7:])
        elif self.rotation == "cone":
            angles = _cone_euler(u[7:], self.angle_max_rad)
        elif self.rotation == "shell":
            angles = shell_angles(u[:3], self.angle_min_rad, self.angle_max_rad)
        ranges = (self.floor_hue, self.spot_theta_rad, self.spot_phi_rad, self.spot_hue)
        rest = [low + (high - low) * t for (low, high), t in zip(ranges, u[3:7], strict=True)]
        for factor in self.factors:
            random = generator(dataset_seed, f"factor {factor.name}|{object_key}", view)
            rest.extend(factor.sample(random).tolist())
        return np.array([*angles, *rest])

    def scene(self, mesh: Mesh, latent: NDArray[np.float64]) -> Scene:
        """The scene that a latent describes.

        Args:
            mesh: The object.
            latent: Shape (columns or more,).
        """
        theta, phi = float(latent[4]), float(latent[5])
        position = (
            SPOT_DISTANCE * math.sin(theta) * math.cos(phi),
            SPOT_DISTANCE * math.sin(theta) * math.sin(phi),
            SPOT_DISTANCE * math.cos(theta),
        )
        floor = rgb_from_hsv(float(latent[3]), FLOOR_SATURATION, FLOOR_VALUE)
        light = rgb_from_hsv(float(latent[6]), SPOT_SATURATION, SPOT_VALUE)
        scene = Scene(
            mesh=mesh,
            rotation=rotation_matrix(latent),
            camera=Camera(field_of_view_rad=self.field_of_view_rad),
            floor=Floor(color=floor),
            spot=Spot(position=position, color=light),
        )
        return changed_scene(scene, self.factors, latent[len(COLUMNS) :])


def nothing() -> Mesh:
    """A mesh without extent, for asking a law what else is in its scenes."""
    return Mesh(
        np.zeros((1, 3)), np.zeros((1, 3), np.int32), np.zeros((1, 3, 3), np.float32),
        face_colors=np.zeros((1, 3), np.uint8),
    )  # fmt: skip


def changed_scene(scene: Scene, factors: Sequence[Factor], values: NDArray[np.float64]) -> Scene:
    """A scene with some factors at the values that a latent has for them.

    Args:
        scene: Of the seven numbers.
        factors: In the order of their columns.
        values: Shape (columns of all factors or more,).

    Raises:
        ConventionError: There are fewer values than columns.
    """
    start = 0
    for factor in factors:
        own = values[start : start + len(factor.columns)]
        if len(own) < len(factor.columns):
            _refuse("factors", "a latent with the columns of all factors", f"{len(values)} more")
        scene = factor.change(scene, own)
        start += len(own)
    return scene


def _haar_euler(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Extrinsic xyz angles of a uniform rotation from three uniform numbers.

    Haar measure in these angles has density |cos b|: a and c are uniform, sin b is too.
    """
    a, c = math.pi * (2 * u[0] - 1), math.pi * (2 * u[2] - 1)
    return np.array([a, math.asin(2 * u[1] - 1), c])


def _cone_euler(u: NDArray[np.float64], angle_max_rad: float) -> NDArray[np.float64]:
    """Extrinsic xyz angles of a Haar rotation, given that it tilts +z by at most an angle.

    A turn about the vertical, a tilt whose cosine is uniform, another turn: Rz(p) Ry(t) Rz(s).
    """
    tilt = math.acos(1.0 - u[1] * (1.0 - math.cos(angle_max_rad)))
    # SciPy's rounding is part of the sets that people have; the other laws do not wait for it.
    transform = import_module("scipy.spatial.transform")
    rotation = transform.Rotation.from_euler("ZYZ", [2 * math.pi * u[0], tilt, 2 * math.pi * u[2]])
    angles: NDArray[np.float64] = rotation.as_euler("xyz")
    return angles


def _refuse(argument: str, expected: str, got: str) -> None:
    raise ConventionError(
        expected=expected, got=got, argument=f"law.{argument}",
        advice="See the documentation of ViewLaw; 3DIEBench's law is the default.",
    )  # fmt: skip
