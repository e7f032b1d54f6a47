"""What is refused where sides, labels, settings and presets come in, each in words."""

from __future__ import annotations

import math

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.actions import Vectors
from equivariant.errors import ConventionError, EquivariantError, ShapeError
from equivariant.groups import SO3
from equivariant.losses import ContrastTerm, FunctionTerm, Loss, Objective, Pairs, Side, preset
from equivariant.losses.objective.plan import BothWaysTerm, Term
from equivariant.losses.presets.preset import PRESETS, REQUIRED
from equivariant.losses.temperatures.robust import IndividualTemperature, TemperatureNetwork

A, B, C = (torch.randn(6, 4, generator=torch.Generator().manual_seed(k)) for k in range(3))
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def test_a_side_that_nothing_reads_is_refused_with_the_sides_known():
    loss = preset("infonce").build()
    with pytest.raises(ConventionError, match=r"sides among a, b, got c\. Nothing reads it"):
        loss(a=A, b=B, c=C)
    with pytest.raises(ConventionError, match=r"got banks.*Did you mean bank"):
        preset("moco").build()(a=A, b=B, banks=C)


def test_optional_and_alternative_sides_are_read():
    torch.testing.assert_close(
        preset("simclr").build()(a=A, b=B, moved=A).total, preset("simclr").build()(A, B).total
    )
    assert preset("supcon_out").build()(A, LABELS).total.isfinite()
    assert preset("equivariant_nce").build()(a=A, b=B, moved=C).total.isfinite()


def test_an_objective_passes_its_plan_the_sides_that_it_reads():
    action = Vectors(SO3(), channels=2)
    z = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    value = Objective(preset("infonce"), action)(z, z + 0.1, torch.eye(3))
    assert value.total.isfinite()


class Foreign(Term):
    @property
    def kind(self):
        return "anchors"

    def value(self, sides, generator):
        return sides.tensor("whatever").sum()


def test_a_term_of_another_kind_may_read_any_side():
    assert Loss([Foreign("foreign")])(whatever=A).total == A.sum()


@pytest.mark.parametrize("name", ["supcon_out", "supcon_in", "triplet", "circle"])
def test_only_minus_one_is_unlabelled(name):
    loss = preset(name).build()
    one = LABELS.clone()
    one[0] = -1
    assert loss(A, B, one).total.isfinite()
    for label in (-2, -100):
        wrong = LABELS.clone()
        wrong[0] = label
        with pytest.raises(ConventionError, match=f"unlabelled, got a label of {label}"):
            loss(A, B, wrong)


def test_complex_labels_are_refused():
    with pytest.raises(ConventionError, match="one integer"):
        preset("supcon_out").build()(A, LABELS * 1j)


def _numbers():
    for name, found in PRESETS.items():
        for key, value in found.settings.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and not any(v is REQUIRED for v in found.settings.values()):
                yield name, key


@pytest.mark.parametrize(("name", "key"), list(_numbers()))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_setting_is_infinite_or_nan(name, key, value):
    with pytest.raises(EquivariantError):
        preset(name, **{key: value}).build() if not PRESETS[name].parts else preset(
            name, **{key: value}
        ).plan


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("margin", {"beta": -0.1}),
        ("margin", {"alpha": 0.0}),
        ("circle", {"margin": 1.0}),
        ("vicreg", {"cov": -1.0}),
        ("convirt", {"forward": 1.5}),
        ("look", {"neighbors": 0}),
        ("look", {"neighbors": 2.5}),
        ("tempnet", {"dim": 4, "low": -0.1}),
        ("tempnet", {"dim": 4, "low": 0.1, "high": 0.05}),
        ("tempnet", {"dim": 4, "dropout": 1.5}),
        ("tempnet", {"dim": 4, "prototypes": 0}),
        ("tempnet", {"dim": 4, "rho": -1.0}),
        ("isogclr", {"samples": 0}),
        ("isogclr", {"samples": 9, "rho": -1.0}),
        ("isogclr", {"samples": 9, "rate": -1e-3}),
        ("isogclr", {"samples": 9, "high": 0.01}),
        ("isogclr", {"samples": 9, "gamma": 0.0}),
    ],
)
def test_settings_out_of_range_are_refused_when_made(name, settings):
    with pytest.raises(ConventionError) as told:
        preset(name, **settings).build()
    assert told.value.argument in {*settings, "start"}


def test_settings_of_either_sign_stay():
    assert preset("siglip", b=-3.0).build()(A, B).total.isfinite()
    assert preset("cacr", t_push=-1.0).build()(A, B).total.isfinite()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_temperatures_made_by_hand_are_validated(value):
    for settings in ({"rho": value}, {"high": value}, {"rate": value}, {"clip": value}):
        with pytest.raises(ConventionError):
            IndividualTemperature(4, **settings)
    for settings in ({"rho": value}, {"high": value}, {"low": value}, {"dropout": value}):
        with pytest.raises(ConventionError):
            TemperatureNetwork(4, **settings)
    with pytest.raises(ConventionError, match="average"):
        IndividualTemperature(4, average=1.0)


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_weights_are_finite(weight):
    for make in (ContrastTerm, BothWaysTerm, FunctionTerm):
        with pytest.raises(ConventionError, match="weight: expected a finite number"):
            make("term", weight=weight)
    with pytest.raises(ConventionError, match="factor"):
        weight * preset("clip")


def test_a_term_is_validated_when_made():
    with pytest.raises(ConventionError, match="keep"):
        ContrastTerm("term", keep=1.5)
    with pytest.raises(ConventionError, match="forward"):
        BothWaysTerm("term", forward=-0.5)


@pytest.mark.parametrize(
    "name", ["infonce", "simclr", "nt_xent", "dclw", "vicreg", "supcon_out", "clip", "cacr",
             "supremix", "barlow", "csgcl"],
)  # fmt: skip
def test_sides_of_unlike_widths_and_devices(name):
    label = {"label": LABELS.double()} if name == "supremix" else {"label": LABELS}
    if name == "csgcl":
        label = {"strength": torch.ones(6)}
    loss = preset(name).build()
    with pytest.raises((ShapeError, TypeCheckError), match=r"width|shape|check"):
        loss(a=A, b=torch.randn(6, 3), **label)
    with pytest.raises(ConventionError, match=r"one device, cpu as a, got b on meta"):
        loss(a=A, b=B.to("meta"), **label)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("hallucinator", {"dim": 4}), ("tempnet", {"dim": 4}), ("obow", {"dim": 4, "width": 4})],
)
def test_widths_other_than_a_network_was_made_for(name, settings):
    loss, other = preset(name, **settings).build(), list(PRESETS[name].sides)[1]
    wide = {"a": torch.randn(6, 5), other: torch.randn(6, 5)}
    with pytest.raises(ShapeError, match="width"):
        loss(**wide)


def test_what_rows_know_and_what_is_trained_is_on_the_device_of_the_sides():
    with pytest.raises(ConventionError, match=r"got a\.label on meta"):
        preset("supcon_out").build()(A, LABELS.to("meta"))
    with pytest.raises(ConventionError, match=r"parameters on meta"):
        preset("hallucinator", dim=4).build().to("meta")(A, B)


@pytest.mark.parametrize("kind", [torch.int64, torch.complex64, torch.bool])
def test_embeddings_of_another_kind(kind):
    with pytest.raises(ConventionError, match="floating point, real"):
        preset("infonce").build()(a=A, b=torch.ones(6, 4).to(kind))


def test_joined_sides_of_one_width_stay_and_others_are_refused():
    assert len(Side.join(Side.of(A), Side.of(B))) == 12
    with pytest.raises(ShapeError, match="widths 4, 3"):
        Side.join(Side.of(A), Side.of(torch.randn(2, 3)))


def test_the_arithmetic_of_presets():
    p, q = preset("clip"), preset("barlow")

    def value(found):
        return found.build()(A, B).total

    torch.testing.assert_close(value(p / 2), value(p) / 2)
    torch.testing.assert_close(value(-p), -value(p))
    torch.testing.assert_close(value(sum([p, 0.1 * q])), value(p) + 0.1 * value(q))
    assert (p / 2).name == "0.5 clip"
    with pytest.raises(ConventionError, match="divisor other than 0"):
        p / 0
    for wrong in (lambda: p * q, lambda: p / "2", lambda: p + 1, lambda: 1 + p, lambda: p * True):
        with pytest.raises(TypeError):
            wrong()


def test_a_push_alone_has_no_side_of_labels():
    side = Side.of(A, label=torch.full((6,), -5))
    with pytest.raises(ConventionError, match="unlabelled"):
        preset("supcon_out").build()(a=side)
    assert Pairs.same("label").tile(side, side).positive.all()  # a name like any other
