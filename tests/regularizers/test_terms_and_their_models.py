"""Terms follow their model through copies, loading and conversion, and refuse what they cannot."""

import copy
import io
import pickle

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

from equivariant.actions import Action, Tensors, equivariant_basis
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import O3, SO3, Union
from equivariant.regularizers import (
    FeatureTap,
    Fixed,
    GradedMaps,
    LayerRelaxation,
    OneShot,
    Penalty,
    PrimalDual,
    SoftEquivariance,
    discovered_levels,
    soften,
)
from equivariant.regularizers.penalties import KINDS

V = Tensors(SO3(), 1)
ACTS = {"": (V, V)}


ALL_TURNS = (SO3(),)


def term(model=None, candidates=ALL_TURNS, acts=ACTS, **settings):
    model = nn.Linear(3, 3) if model is None else model
    return SoftEquivariance(model, list(candidates), representations=acts, **settings)


def zero(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()


def value(found):
    return float(found().detach())


def test_a_copy_is_about_the_copied_model():
    for used in (False, True):
        first = term()
        if used:
            first()
        second = copy.deepcopy(first)
        third = pickle.loads(pickle.dumps(first))  # noqa: S301
        assert value(third) == pytest.approx(value(first))
        zero(second.model)
        assert value(second) == 0 < value(first)
        zero(first.model)
        assert value(first) == 0 < value(third)


def test_weights_are_looked_up_anew():
    """Replaced, loaded by assignment, converted, reparametrized: what the layer has now counts."""
    model = nn.Linear(3, 3)
    found = term(model)
    found()
    model.load_state_dict({k: torch.zeros_like(v) for k, v in model.state_dict().items()},
                          assign=True)  # fmt: skip
    assert value(found) == 0
    model.weight = nn.Parameter(torch.ones(3, 3))
    assert value(found) == pytest.approx(0.5 * 6)  # off the diagonal; the mean of it is kept
    assert found().requires_grad
    model.double()
    assert found().dtype == torch.float64
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3, bias=False))
    found = term(normed)
    found().backward()
    assert float(normed.parametrizations.weight.original1.grad.norm()) > 0
    with torch.no_grad():
        normed.parametrizations.weight.original0.zero_()
    assert value(found) == 0
    model.weight = nn.Parameter(torch.ones(4, 3))
    with pytest.raises(ConventionError, match="9 weights"):
        term_of_changed = term(nn.Linear(3, 3))
        term_of_changed.model.weight = nn.Parameter(torch.ones(4, 3))
        term_of_changed()


def test_relaxation_follows_its_model():
    model = nn.Linear(3, 3, bias=False)
    relaxation = LayerRelaxation(model, SO3(), representations=ACTS)
    model.double()
    model(torch.randn(4, 3).double()).square().mean().backward()
    assert relaxation.ready
    relaxation.step()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_does_not_overflow(kind):
    model = nn.Linear(3, 3, bias=False).half()
    with torch.no_grad():
        model.weight.fill_(200.0)
    found = term(model, penalty=kind)
    total = found()
    total.backward()
    assert total.dtype == torch.float32
    assert bool(total.isfinite())
    assert model.weight.grad.dtype == torch.float16
    exact = term(copy.deepcopy(model).double(), penalty=kind)
    assert float(total.detach()) == pytest.approx(value(exact), rel=1e-5)


def test_layers_under_several_names():
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    alone = value(term(layer))
    both = term(model, acts={"0": (V, V), "2": (V, V)})
    assert both.layers == ("0",)
    assert value(both) == pytest.approx(alone)
    assert term(model, acts={"2": (V, V)}).layers == ("2",)


def test_frozen_and_empty_and_wrapped_models():
    frozen = nn.Linear(3, 3).requires_grad_(False)
    assert not term(frozen)().requires_grad
    wrapped = nn.DataParallel(nn.Linear(3, 3))
    assert value(term(wrapped, acts={"module": (V, V)})) == pytest.approx(
        value(term(wrapped.module))
    )
    nothing = nn.Linear(3, 3)
    zero(nothing)
    found = term(nothing, penalty="scale_free")
    found().backward()
    assert float(nothing.weight.grad.abs().max()) == 0
    assert found.levels().held == ("SO3()",)


def test_states_of_other_terms_are_refused():
    one = term(strengths=OneShot(1.0, at=5))
    one()
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other = term(strengths=OneShot(1.0, at=5))
    other.load_state_dict(torch.load(file))
    assert int(other.strengths.step) == 1
    for wrong in (term(), term(candidates=[SO3(), O3()], strengths=OneShot(1.0, at=5)),
                  term(strengths=PrimalDual())):  # fmt: skip
        with pytest.raises(ConventionError, match="state of a term"):
            wrong.load_state_dict(one.state_dict())
    with pytest.raises(ConventionError, match="state of a term"):
        one.load_state_dict({})


def test_weights_stay_when_a_softness_is_refused():
    model = nn.Linear(3, 3)
    before = model.weight.detach().clone()
    for softness in (float("nan"), -1.0):
        with pytest.raises(ConventionError, match="softness"):
            soften(model, SO3(), softness, representations=ACTS)
    torch.testing.assert_close(model.weight.detach(), before, rtol=0, atol=0)


def test_taps_refuse_other_numbers_of_elements():
    model, x = nn.Linear(3, 3), torch.randn(4, 3)
    with FeatureTap(model, V) as tap:
        model(x), model(x)
        with pytest.raises(ShapeError, match="one for each"):
            tap(SO3().identity(3))


def diverged():
    model = nn.Linear(3, 3)
    with torch.no_grad():
        model.weight.fill_(float("nan"))
    return model


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: term(strengths=float("nan")), "finite"),
        (lambda: term().levels(tolerance=float("nan")), "tolerance"),
        (lambda: Penalty("spectral", equivariant_share=float("nan")), "share"),
        (lambda: PrimalDual(rate=float("nan")), "rate"),
        (lambda: term(strengths=Fixed(float("inf"))), "finite"),
        (lambda: term(diverged()).levels(), "finite"),
        (lambda: soften(nn.Linear(3, 3, device="meta"), SO3(), 0.0, representations=ACTS), "meta"),
        (lambda: term(nn.Linear(3, 3, device="meta"))(), "meta"),
        (lambda: term(nn.Linear(3, 3, device="meta"), penalty="sampled")(), "meta"),
        (lambda: term(nn.Linear(3, 3, dtype=torch.complex64))(), "complex"),
        (lambda: term(nn.LazyLinear(3)), "Run the model once"),
        (lambda: term(nn.Embedding(3, 3)), "Embedding"),
        (lambda: term(nn.Bilinear(3, 3, 3)), "Bilinear"),
        (lambda: term(nn.Conv2d(3, 3, 1, groups=3)), "channel groups"),
        (lambda: term(nn.Sequential(), acts={}), "at least one"),
    ],
)
def test_refusals_in_words(build, said):
    with pytest.raises(ConventionError, match=said):
        build()


class _Squares(Action):
    def __init__(self):
        super().__init__(SO3(), 3)

    def forward(self, g, z):
        return (g @ z.unsqueeze(-1)).squeeze(-1) ** 2


class _Undefined(_Squares):
    def forward(self, g, z):
        return super().forward(g, z) * float("nan")


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: equivariant_basis(_Squares(), V), "linear"),
        (lambda: equivariant_basis(_Undefined(), V), "nan"),
        (lambda: equivariant_basis(Tensors(SO3(), 20), V), "GiB"),
    ],
)
def test_bases_refuse_in_words(build, said):
    with pytest.raises(ConventionError, match=said):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: SoftEquivariance(None, [SO3()], representations=ACTS),
        lambda: term(acts={"": (3, 3)}),
        lambda: term(acts={"": V}),
        lambda: term(acts=[V]),
        lambda: SoftEquivariance(nn.Linear(3, 3), SO3(), representations=ACTS),
        lambda: SoftEquivariance(nn.Linear(3, 3), "SO3", representations=ACTS),
        lambda: term(candidates=["SO3"]),
        lambda: SoftEquivariance(nn.Linear(3, 3), {"a": 3}, representations=ACTS),
        lambda: term(strengths="often"),
        lambda: discovered_levels([1, 2]),
        lambda: equivariant_basis(None, V),
        lambda: equivariant_basis(V, SO3()),
        lambda: Tensors("SO3", 1),
        lambda: Tensors(SO3(), 1.5),
        lambda: soften(nn.Linear(3, 3), "SO3", 0.0, representations=ACTS),
        lambda: LayerRelaxation(nn.Linear(3, 3), None, representations=ACTS),
        lambda: FeatureTap(None, V),
        lambda: GradedMaps(None, V),
        lambda: OneShot(1.0, at=1.5),
        lambda: Union(None),
    ],
)
def test_wrong_types_are_refused(build):
    """In words where types are not checked already, as they are in tests."""
    with pytest.raises((ConventionError, TypeCheckError)):
        build()
