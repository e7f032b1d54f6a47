"""Our ruler and escnn's own check agree about escnn's layers, and about broken ones."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from equivariant.errors import ConventionError
from equivariant.measure import EquivarianceReport, declared, equivariance_error

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


def measured(module: Any, *size: int, samples: int = 8) -> EquivarianceReport:
    """Our measurement of a module of escnn's by its own declaration."""
    d = declared(module)
    x = torch.randn(2, *d.widths, *size, generator=torch.Generator().manual_seed(1))
    return equivariance_error(
        d.f, x, act_in=d.act_in, act_out=d.act_out, law=d.law, samples=samples
    )


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
    report = measured(network, SIDE, SIDE)
    assert escnn_accepts(network)
    assert report.value("worst") < EXACT and report.repeat[""] < EXACT


def test_both_reject_an_unconstrained_convolution() -> None:
    images, fields = plane()
    torch.manual_seed(0)
    layer = nn.Conv2d(images.size, fields.size, 3, padding=1)
    twin = Unconstrained(layer, images, fields).eval()
    report = measured(twin, SIDE, SIDE)
    assert not escnn_accepts(twin)
    turned = report.radius > 1.0
    assert bool((report.errors()[turned] > BROKEN).all()) and int(turned.sum()) > 2
    assert report.special["identity"][""] < EXACT


def test_both_accept_a_linear_map_of_fibers() -> None:
    torch.manual_seed(0)
    layer = enn.Linear(*fibers()).eval()
    report = measured(layer)
    assert escnn_accepts(layer)
    assert report.value("worst") < EXACT


def test_both_reject_an_unconstrained_linear_map() -> None:
    wide, narrow = fibers()
    torch.manual_seed(0)
    twin = Unconstrained(nn.Linear(wide.size, narrow.size), wide, narrow).eval()
    report = measured(twin)
    assert not escnn_accepts(twin)
    assert report.special["half turn 0"][""] > BROKEN


def test_the_number_that_escnns_check_returns() -> None:
    """Mean |difference| per element, for the same input and the same elements."""
    images, fields = plane()
    torch.manual_seed(0)
    twin = Unconstrained(nn.Conv2d(images.size, fields.size, 3, padding=1), images, fields).eval()
    d = declared(twin)
    x = torch.randn(3, images.size, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    report = equivariance_error(d.f, x, act_in=d.act_in, act_out=d.act_out, law=d.law, samples=12)
    field, expected = enn.GeometricTensor(x, images), []
    with torch.no_grad():
        for element in images.gspace.testing_elements:
            left = twin(field.transform(element)).tensor
            right = twin(field).transform(element).tensor
            expected.append(float((left - right).abs().mean()))
    of_element = report.errors("escnn").mean(0)
    for value in of_element:  # each drawn element is one of the four
        assert min(abs(float(value) - e) for e in expected) < 1e-5
    assert len({round(float(value), 4) for value in of_element}) == 4


@pytest.mark.parametrize("name", ["so3_group", "o3_group"])
def test_rotations_and_reflections_of_space(name: str) -> None:
    group = getattr(groups, name)(maximum_frequency=2)
    space = gspaces.no_base_space(group)
    degrees = range(3)
    kinds = [
        group.irrep(degree) if name == "so3_group" else group.irrep(degree % 2, degree)
        for degree in degrees
    ]
    wide = enn.FieldType(space, kinds * 2)
    torch.manual_seed(0)
    layer = enn.Linear(wide, enn.FieldType(space, kinds)).eval()
    report = measured(layer)
    assert report.value("worst") < EXACT and report.table().crossed
    twin = Unconstrained(nn.Linear(wide.size, layer.out_type.size), wide, layer.out_type).eval()
    assert measured(twin).value() > BROKEN


def test_rotations_outside_of_a_cyclic_group_are_refused() -> None:
    images, fields = plane()
    layer = enn.R2Conv(images, fields, kernel_size=3, padding=1).eval()
    d = declared(layer)
    x = torch.randn(2, images.size, SIDE, SIDE)
    with pytest.raises(ConventionError, match="law"):
        equivariance_error(d.f, x, act_in=d.act_in, act_out=d.act_out, samples=2)


def test_a_group_without_our_matrices_is_refused() -> None:
    space = gspaces.flipRot2dOnR2(N=4)
    kind = enn.FieldType(space, [space.trivial_repr])
    with pytest.raises(ConventionError, match="field over"):
        declared(enn.R2Conv(kind, kind, kernel_size=3))
