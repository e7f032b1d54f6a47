"""Contributions add up on every graph of calls; blame falls where an error was planted."""

import pytest
import torch
from torch import nn

from equivariant.actions import Trivial, Vectors
from equivariant.errors import ConventionError
from equivariant.groups import SO3
from equivariant.measure import attribute, hutchinson, local_equivariance_error

X = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(inputs, outputs, seed):
    layer = nn.Linear(inputs, outputs, dtype=torch.float64)
    layer.weight.data = draw(outputs, inputs, seed=seed) / inputs**0.5
    layer.bias.data = draw(outputs, seed=seed + 100)
    return layer


class Mix(nn.Module):
    """Mixes vector channels: equivariant."""

    def __init__(self, inputs, outputs, seed):
        super().__init__()
        self.weight = nn.Parameter(draw(outputs, inputs, seed=seed) / inputs**0.5)

    def forward(self, z):
        return (self.weight @ z.unflatten(-1, (-1, 3))).flatten(-2)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.tanh, self.second = linear(6, 6, 1), nn.Tanh(), linear(6, 6, 2)
        self.relu = nn.SiLU(inplace=True)

    def forward(self, z):
        return z + self.second(self.relu(self.tanh(self.first(z)))) * z


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.tanh = linear(6, 6, 3), nn.Tanh()

    def forward(self, z):
        return self.mix(self.tanh(self.mix(self.tanh(z))))


class TwoInputs(nn.Module):
    """Two inputs and a layer that returns two tensors."""

    class Split(nn.Module):
        def forward(self, a, b):
            return {"sum": (a + b).tanh(), "product": a * b}

    def __init__(self):
        super().__init__()
        self.split, self.out = self.Split(), linear(6, 6, 4)

    def forward(self, a, b):
        parts = self.split(a, b)
        return self.out(parts["sum"]) + parts["product"].sin()


VECTORS = Vectors(SO3(), channels=2)
CHAIN = nn.Sequential(linear(6, 6, 5), nn.Tanh(), linear(6, 6, 6), nn.Tanh(), linear(6, 6, 7))


def case(name):
    arguments = {"act_in": VECTORS, "act_out": VECTORS, "act_of": lambda layer, output: VECTORS}
    if name == "two inputs":
        pair = {"sum": VECTORS, "product": VECTORS}
        arguments["act_in"] = (VECTORS, VECTORS)
        arguments["act_of"] = {"split": pair, "out": VECTORS}
        model = TwoInputs()
        return model, (draw(9, 6), draw(9, 6, seed=1)), arguments
    model = {"chain": CHAIN, "residual": Residual(), "twice": Twice()}[name]
    return model, draw(9, 6), arguments


NAMES = ["chain", "residual", "twice", "two inputs"]


@pytest.mark.parametrize("name", NAMES)
def test_contributions_add_up(name):
    model, x, arguments = case(name)
    local = attribute(model, x, direction=X, **arguments)
    assert local.residual < 1e-10
    f = arguments.get("forward", model)
    whole = local_equivariance_error(
        f, x, act_in=arguments["act_in"], act_out=VECTORS, directions={"X": X}
    )
    torch.testing.assert_close(local.total_of_item, whole.overall.squared[:, 0])
    torch.testing.assert_close(local.gram_of_item.sum((1, 2)), local.total_of_item)
    assert sum(local.shares.values()) == pytest.approx(1)
    g = SO3().sample(9, generator=torch.Generator().manual_seed(3))
    finite = attribute(model, x, element=g, **arguments)
    assert finite.residual < 1e-10
    torch.testing.assert_close(finite.gram_of_item.sum((1, 2)), finite.total_of_item)
    assert finite.names == local.names
    assert finite.names[-1] == "glue"


def test_finite_error_is_the_error_of_the_element():
    x, g = draw(9, 6), SO3().exp(X)
    found = attribute(
        CHAIN, x, act_in=VECTORS, act_out=VECTORS, act_of=lambda *_: VECTORS, element=g
    )
    error = CHAIN(VECTORS(g, x)) - VECTORS(g, CHAIN(x))
    torch.testing.assert_close(found.total_of_item, error.square().sum(-1).detach())
    u = CHAIN[0](x)
    first = CHAIN[1:](CHAIN[0](VECTORS(g, x))) - CHAIN[1:](VECTORS(g, u))
    torch.testing.assert_close(found.squared[:, 0], first.square().sum(-1).detach())
    assert "total" in str(found)


def test_a_small_element_is_the_local_error():
    x, r = draw(9, 6), 1e-5
    arguments = {"act_in": VECTORS, "act_out": VECTORS, "act_of": lambda *_: VECTORS}
    finite = attribute(CHAIN, x, element=SO3().exp(r * X), **arguments)
    local = attribute(CHAIN, x, direction=X, **arguments)
    torch.testing.assert_close(finite.gram / r**2, local.gram, rtol=1e-3, atol=1e-4)
    differences = attribute(CHAIN, x, direction=X, method="differences", **arguments)
    torch.testing.assert_close(differences.gram, local.gram, rtol=1e-8, atol=1e-8)


def test_one_bad_layer_gets_all_the_blame():
    model = nn.Sequential(Mix(2, 4, 1), Mix(4, 4, 2), nn.Tanh(), Mix(4, 3, 3), Mix(3, 2, 4))
    channels = [4, 4, 4, 3, 2]
    actions = {str(k): Vectors(SO3(), channels=c) for k, c in enumerate(channels)}
    found = attribute(
        model, draw(9, 6), act_in=VECTORS, act_out=VECTORS, act_of=actions, direction=X
    )
    assert found.shares["2"] == pytest.approx(1)
    assert found.gram.diagonal()[[0, 1, 3, 4, 5]].max() < 1e-24 * found.total
    coarse = attribute(
        model, draw(9, 6), act_in=VECTORS, act_out=VECTORS, act_of={"1": actions["1"]}, direction=X
    )
    assert coarse.glue == pytest.approx(coarse.total)
    del actions["2"]
    booked = attribute(
        model, draw(9, 6), act_in=VECTORS, act_out=VECTORS, act_of=actions, direction=X
    )
    assert booked.shares["3"] == pytest.approx(1)


def test_calls_of_one_layer_are_told_apart_and_summed():
    model, x, arguments = case("twice")
    found = attribute(model, x, direction=X, **arguments)
    assert found.names == ("tanh", "mix", "tanh#2", "mix#2", "glue")
    gram = found.gram
    both = gram[1, 1] + gram[3, 3] + 2 * gram[1, 3]
    assert found.by_layer()["mix"] == pytest.approx(float(both))


@pytest.mark.parametrize("name", NAMES)
def test_probes_estimate_the_exact_contributions(name):
    model, x, arguments = case(name)
    exact = attribute(model, x, direction=X, **arguments)
    estimate = hutchinson(model, x, direction=X, probes=400, **arguments)
    assert estimate.residual < 1e-10
    assert estimate.names == exact.names
    gap = (estimate.mean - exact.gram.diagonal()).abs()
    assert (gap <= 4 * estimate.standard_error + 1e-20).all()
    assert (estimate.standard_error <= 0.15 * estimate.mean + 1e-20).all()


def test_own_errors_of_layers():
    x = draw(9, 6)
    estimate = hutchinson(
        nn.Sequential(CHAIN[0], nn.Identity()), x, act_in=VECTORS, act_out=VECTORS,
        act_of=lambda *_: VECTORS, direction=X, probes=2,
    )  # fmt: skip
    alone = local_equivariance_error(
        CHAIN[0], x, act_in=VECTORS, act_out=VECTORS, directions={"X": X}
    )
    torch.testing.assert_close(estimate.own[0], alone.overall.gram[0, 0])
    assert estimate.own[1] < 1e-24


def test_nothing_is_left_behind():
    model, x, arguments = case("residual")
    clean, before = x.clone(), model(x)
    attribute(model, x, direction=X, **arguments)
    assert torch.equal(x, clean)
    assert torch.equal(model(x), before)
    assert all(not module._forward_hooks for module in model.modules())


def test_wrong_arguments():
    x = draw(9, 6)
    arguments = {"act_in": VECTORS, "act_out": VECTORS}
    with pytest.raises(ConventionError, match="exactly one"):
        attribute(CHAIN, x, act_of=lambda *_: VECTORS, **arguments)
    with pytest.raises(ConventionError, match="named_modules"):
        attribute(CHAIN, x, act_of={"absent": VECTORS}, direction=X, **arguments)
    with pytest.raises(ConventionError, match="declared"):
        attribute(CHAIN, x, act_of=lambda *_: None, direction=X, **arguments)

    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.tanh, self.count = nn.Tanh(), 0

        def forward(self, z):
            self.count += 1
            return self.tanh(z) if self.count == 1 else z

    with pytest.raises(ConventionError, match="calls"):
        attribute(Moody(), x, act_of=lambda *_: VECTORS, direction=X, **arguments)
    assert Trivial(6).dim == 6
