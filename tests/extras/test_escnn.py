"""Our ruler and escnn's own check agree about escnn's layers, and about broken ones."""

from __future__ import annotations

import importlib
import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equivariant.actions import Action
from equivariant.groups import SO2
from equivariant.measure import EquivarianceReport, equivariance_error

pytestmark = [pytest.mark.escnn, pytest.mark.filterwarnings("ignore")]

with warnings.catch_warnings():  # escnn's dependencies warn when they are imported
    warnings.simplefilter("ignore")
    pytest.importorskip("escnn", reason="needs the extra escnn, with numpy below 2")
    enn = importlib.import_module("escnn.nn")
    gspaces = importlib.import_module("escnn.gspaces")
    groups = importlib.import_module("escnn.group")

SIDE = 9
EXACT = 1e-5  # float32
BROKEN = 0.1


class QuarterTurns(SO2):
    """The four rotations that map a square grid onto itself."""

    def sample(self, *batch: int, generator: torch.Generator, **options: Any) -> Tensor:
        turns = torch.randint(4, (*batch, 1), generator=generator)
        return self.exp(turns * (math.pi / 2)).to(**options)


class EscnnAction(Action):
    """How escnn moves a field of one type, flattened; a side of None means no base space."""

    def __init__(self, group: SO2, field_type: Any, side: int | None) -> None:
        super().__init__(group, field_type.size * (1 if side is None else side**2))
        self.field_type, self.side = field_type, side

    def forward(self, g: Tensor, z: Tensor) -> Tensor:
        fibers = self.field_type.fibergroup
        angle = float(torch.atan2(g[1, 0], g[0, 0]))
        if fibers.continuous:
            element = fibers.element(angle % (2 * math.pi), "radians")
        else:
            element = fibers.element(round(angle / (math.pi / 2)) % 4)
        if self.side is None:
            return self.field_type.transform_fibers(z, element)
        field = z.reshape(-1, self.field_type.size, self.side, self.side)
        return self.field_type.transform(field, element).reshape(z.shape)


class Unconstrained(enn.EquivariantModule):
    """A layer that claims to be equivariant and is not."""

    def __init__(self, layer: nn.Module, in_type: Any, out_type: Any) -> None:
        super().__init__()
        self.layer, self.in_type, self.out_type = layer, in_type, out_type

    def forward(self, x: Any) -> Any:
        return enn.GeometricTensor(self.layer(x.tensor), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape[0], self.out_type.size, *input_shape[2:]


def plane() -> tuple[Any, Any]:
    """Images in, a scalar, a vector and a regular field out, under quarter turns."""
    space = gspaces.rot2dOnR2(N=4)
    images = enn.FieldType(space, 3 * [space.trivial_repr])
    fields = enn.FieldType(space, [space.trivial_repr, space.irrep(1), space.regular_repr])
    return images, fields


def fibers() -> tuple[Any, Any]:
    """Vectors of frequencies 0 to 3 and 0 to 2 under all rotations of the plane."""
    circle = groups.so2_group(maximum_frequency=3)
    space = gspaces.no_base_space(circle)
    wide = enn.FieldType(space, [circle.irrep(k) for k in range(4)] * 2)
    return wide, enn.FieldType(space, [circle.irrep(k) for k in range(3)])


def measured(module: Any, group: SO2, side: int | None) -> EquivarianceReport:
    """Our measurement of a module of escnn's, whose fields are flattened on the way."""
    in_type, out_type = module.in_type, module.out_type
    grid = () if side is None else (side, side)

    def f(x: Tensor) -> Tensor:
        field = enn.GeometricTensor(x.reshape(-1, in_type.size, *grid), in_type)
        return module(field).tensor.flatten(1)

    act_in, act_out = (EscnnAction(group, kind, side) for kind in (in_type, out_type))
    x = torch.randn(2, act_in.dim, generator=torch.Generator().manual_seed(1))
    return equivariance_error(f, x, act_in=act_in, act_out=act_out, samples=8)


def escnn_accepts(module: Any) -> bool:
    """What escnn's own check says; it draws from the global generators and raises."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            enn.EquivariantModule.check_equivariance(module, atol=1e-4, rtol=1e-4)
        except AssertionError:
            return False
    return True


def test_both_accept_a_convolution_of_the_plane() -> None:
    images, fields = plane()
    regular = enn.FieldType(fields.gspace, [fields.gspace.regular_repr] * 2)
    torch.manual_seed(0)
    network = enn.SequentialModule(
        enn.R2Conv(images, regular, kernel_size=3, padding=1),
        enn.ReLU(regular),
        enn.R2Conv(regular, fields, kernel_size=3, padding=1),
    ).eval()
    report = measured(network, QuarterTurns(), SIDE)
    assert escnn_accepts(network)
    assert float(report.relative.max()) < EXACT and report.repeat < EXACT


def test_both_reject_an_unconstrained_convolution() -> None:
    images, fields = plane()
    torch.manual_seed(0)
    layer = nn.Conv2d(images.size, fields.size, 3, padding=1)
    twin = Unconstrained(layer, images, fields).eval()
    report = measured(twin, QuarterTurns(), SIDE)
    assert not escnn_accepts(twin)
    turned = report.radius > 1.0
    assert bool((report.relative[turned] > BROKEN).all()) and int(turned.sum()) > 2
    assert float(report.relative[0]) < EXACT  # the identity


def test_both_accept_a_linear_map_of_fibers() -> None:
    torch.manual_seed(0)
    layer = enn.Linear(*fibers()).eval()
    report = measured(layer, SO2(), None)
    assert escnn_accepts(layer)
    assert float(report.relative.max()) < EXACT


def test_both_reject_an_unconstrained_linear_map() -> None:
    wide, narrow = fibers()
    torch.manual_seed(0)
    twin = Unconstrained(nn.Linear(wide.size, narrow.size), wide, narrow).eval()
    report = measured(twin, SO2(), None)
    assert not escnn_accepts(twin)
    assert float(report.relative[1]) > BROKEN  # the half turn
