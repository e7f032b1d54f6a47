"""The residual block: what it computes, where it starts, and under O(3)."""

from __future__ import annotations

import pytest
import torch
from e3nn.o3 import Irreps

from equivariant.errors import ConventionError, ShapeError
from equivariant.measure import declared, equivariance_error
from equivariant.nn import GauntSelfMix, gaunt_product

TRUE, PSEUDO, MIXED = "3x0e + 3x1o + 3x2e", "3x0o + 3x1e + 3x2o", "3x2o + 3x0e + 3x1o + 3x1e"


def features(irreps, *batch):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*batch, Irreps(irreps).dim, generator=generator, dtype=torch.float64)


def trained(irreps, **options):
    block = GauntSelfMix(irreps, **options).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in block.parameters():
            drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.copy_(drawn)
    return block


@pytest.mark.parametrize("parity", ["even", "full"])
@pytest.mark.parametrize("irreps", [TRUE, MIXED, "3x1o + 3x2e"])
def test_turns_and_reflects_as_declared(irreps, parity):
    block = trained(irreps, parity=parity)
    x = features(irreps, 4)
    declaration = declared(block)
    report = equivariance_error(
        block, x, act_in=declaration.act_in, act_out=declaration.act_out, samples=8
    )
    assert report.value("worst") < 1e-12
    assert (block(x) - x).norm() > 0.1 * x.norm()


def test_it_is_the_sum_of_what_its_formula_says():
    """One channel: linear maps are factors per degree (e3nn divides by √channels, here 1)."""
    block = trained("1x0e + 1x1o + 1x2e", normalization="component")
    x = features("1x0e + 1x1o + 1x2e", 5)
    repeats = torch.tensor([1, 3, 5])
    a, b, c = (w.weight.repeat_interleave(repeats) for w in (block.first, block.second, block.last))
    w1, w2, w3 = (w.repeat_interleave(repeats) for w in block.product.weight.split(3))
    product = gaunt_product(w1 * a * x, w2 * b * x, 2, 2, 2, normalization="component")
    torch.testing.assert_close(block(x), x + c * w3 * product, rtol=0, atol=1e-12)


def test_it_starts_as_the_identity_and_learns():
    block = GauntSelfMix(TRUE)
    x = features(TRUE, 5).float()
    assert torch.equal(block(x), x)
    block(x).square().sum().backward()
    assert block.last.weight.grad.abs().max() > 0
    assert block(x[:0]).shape == (0, 27)
    assert block(x[0]).shape == (27,)


def test_a_generator_makes_the_weights():
    def weights(**options):
        return GauntSelfMix(TRUE, **options).first.weight.detach()

    assert torch.equal(weights(), weights())
    assert not torch.equal(weights(), weights(generator=torch.Generator().manual_seed(1)))


def test_irreps_that_lead_nowhere_and_features_that_do_not_fit_are_refused():
    for irreps in ("3x1o", PSEUDO, "3x0e + 2x1o"):
        with pytest.raises(ConventionError) as caught:
            GauntSelfMix(irreps)
        assert caught.value.argument == "irreps"
    assert GauntSelfMix(PSEUDO, parity="full").irreps_out == Irreps(PSEUDO)
    with pytest.raises(ShapeError):
        GauntSelfMix(TRUE)(torch.zeros(5, 26))
