"""Fields of escnn, moved as escnn moves them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, MissingExtraError
from equivariant.groups import O3, SO2, SO3, Elements, Group, Sampler
from equivariant.measure.motions.motion import Motion, Part
from equivariant.shapes import Matrix
from equivariant.tree import tensors

_GROUPS: dict[str, Group] = {"SO2": SO2(), "CyclicGroup": SO2(), "SO3": SO3(), "O3": O3()}
_ROUNDING = 1e-4  # of a step between two elements


class EscnnMotion(Motion):
    """How escnn moves a field, one element for the whole batch.

    Where there is a base space the picture or volume turns with its fibres, by escnn's own
    interpolation; without one, fibres alone.

    Args:
        field_type: escnn's ``FieldType`` over SO(2), a cyclic group, SO(3) or O(3).

    Raises:
        ConventionError: Another group.
    """

    def __init__(self, field_type: Any) -> None:
        self.field_type = field_type
        self.fibers = field_type.fibergroup
        kind = type(self.fibers).__name__
        if kind not in _GROUPS:
            raise ConventionError(
                expected=f"a field over one of {', '.join(_GROUPS)}",
                got=kind,
                argument="field_type",
                advice="Wrap its transform as FunctionMotion(function, group) yourself.",
            )
        super().__init__(_GROUPS[kind], batched=False)

    def law(self) -> Sampler | None:
        """The rotations of a cyclic group; None for the group's own law."""
        if self.fibers.continuous:
            return None
        count = self.fibers.order()
        angles = torch.arange(count, dtype=torch.float64)[:, None] * (2 * math.pi / count)
        return Elements(SO2(), SO2().exp(angles))

    def element(self, g: Matrix) -> Any:
        """escnn's element for one of our matrices.

        Args:
            g: Shape (n, n).

        Raises:
            ConventionError: A cyclic group does not have that rotation.
        """
        if self.group == SO2():
            angle = float(torch.atan2(g[1, 0], g[0, 0])) % (2 * math.pi)
            if self.fibers.continuous:
                return self.fibers.element(angle, "radians")
            count = self.fibers.order()
            turns = angle * count / (2 * math.pi)
            if abs(turns - round(turns)) > _ROUNDING:
                raise ConventionError(
                    expected=f"one of the {count} rotations of the field's group",
                    got=f"an angle of {angle:.4f} rad",
                    argument="g",
                    advice="Pass law=motion.law(), as declared(module) does.",
                )
            return self.fibers.element(round(turns) % count)
        if self.group == SO3():
            return self.fibers.element(g.double().cpu().numpy(), "MAT")
        sign = float(torch.linalg.det(g.double()))
        rotation = (g.double() * sign).cpu().numpy()
        return self.fibers.element((int(sign < 0), rotation), "MAT")

    def move(self, g: Matrix, x: Any) -> Any:
        part = next(iter(self.parts(x).values())).tensor
        element = self.element(g if g.ndim == 2 else g[0])
        if self.field_type.gspace.dimensionality == 0:
            moved = self.field_type.transform_fibers(part, element)
        else:
            moved = self.field_type.transform(part, element)
        return moved.to(part.dtype)

    def parts(self, y: Any) -> dict[str, Part]:
        return {"": Part(next(iter(tensors(y).values())))}

    def items(self, x: Any) -> int:
        return int(next(iter(tensors(x).values())).shape[0])


def takes_tensors(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """A module of escnn as a map of plain tensors.

    Args:
        module: With ``in_type``; its output is a ``GeometricTensor`` or a tensor.

    Raises:
        MissingExtraError: escnn is not installed.
    """
    try:
        geometric: Any = importlib.import_module("escnn.nn").GeometricTensor
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("escnn", extra="escnn") from error

    def f(x: Tensor) -> Tensor:
        y = module(geometric(x, module.in_type))
        tensor: Tensor = getattr(y, "tensor", y)
        return tensor

    return f
