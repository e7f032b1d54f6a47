"""Force fields that are fresh, or called under modes and with dtypes of others."""

import pytest
import torch

from equivariant.errors import ConventionError
from equivariant.nn.force_field import Calibration, ForceFieldConfig
from equivariant.nn.force_field.start import LARGEST_FEATURE, random_clusters

PRODUCTS = ["gaunt", "gaunt_full", "clebsch_gordan", "clebsch_gordan_natural"]
CALIBRATION = Calibration((1, 6, 8), (-13.5, -1030.25, -2041.0))
DEEP = {"layers": 3, "correlation": 3, "lmax": 1, "channels": 4}


def molecule(atoms=14, seed=3, dtype=torch.float32):
    """A dense cluster of atoms about 1.2 Å apart, all within the cutoff of some others."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.cartesian_prod(*[torch.arange(3.0)] * 3)[:atoms]
    positions = 1.2 * grid + 0.1 * torch.randn(atoms, 3, generator=generator)
    near = (torch.cdist(positions, positions) < 5.0).fill_diagonal_(False)
    return {
        "atomic_numbers": torch.tensor([1, 6, 8])[torch.arange(atoms) % 3],
        "positions_angstrom": positions.to(dtype),
        "edge_index": near.nonzero().T.contiguous(),
        "graph_index": torch.zeros(atoms, dtype=torch.int64),
    }


def fresh(product, seed=0, **settings):
    torch.manual_seed(seed)
    return ForceFieldConfig(product, **{**DEEP, **settings}).build(CALIBRATION).eval()


@pytest.mark.parametrize("product", PRODUCTS)
def test_deep_force_fields_of_high_powers_start_bounded(product):
    forces = [
        fresh(product, seed)(molecule())["forces_eV_per_angstrom"].abs().max() for seed in range(3)
    ]
    assert torch.stack(forces).max() < 100


def test_without_the_bound_a_start_runs_away(monkeypatch):
    monkeypatch.setattr("equivariant.nn.force_field.start.LARGEST_FEATURE", float("inf"))
    forces = fresh("gaunt")(molecule())["forces_eV_per_angstrom"].abs().max()
    assert not forces < 1e9


def test_starts_within_the_bound_stay_as_they_were_drawn(monkeypatch):
    settings = {"layers": 1, "correlation": 1}
    bounded = fresh("gaunt", **settings)
    probe = random_clusters(3, 5.0, bounded.embedding)
    radial = bounded.basis(probe.edge_vectors.norm(dim=1))
    with torch.no_grad():
        features = bounded.layers[0](
            bounded.embedding[probe.element], probe.element, edge_vectors=probe.edge_vectors,
            edge_index=probe.edge_index, radial_basis=radial,
        )  # fmt: skip
    assert features.abs().max() <= LARGEST_FEATURE * (1 + 1e-4)
    limit = "equivariant.nn.force_field.start.LARGEST_FEATURE"
    monkeypatch.setattr(limit, float("inf"))
    drawn = fresh("gaunt", **settings)
    monkeypatch.setattr(limit, 1e9)
    again = fresh("gaunt", **settings)
    for one, other in zip(drawn.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_clusters_keep_apart_and_do_not_touch_the_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    probe = random_clusters(2, 4.0, torch.zeros(1))
    assert torch.equal(before, torch.get_rng_state())
    lengths = probe.edge_vectors.norm(dim=1)
    assert lengths.min() >= 0.74 and lengths.max() < 4.0
    assert len(probe.element) == 2 * 3 * 20 and set(probe.element.tolist()) == {0, 1}
    assert random_clusters(1, 0.5, torch.zeros(1)).edge_index.shape == (2, 0)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("training", [True, False])
def test_forces_under_inference_mode_are_those_without(product, training):
    model = fresh(product, layers=2, correlation=2).train(training)
    expected = model(molecule())["forces_eV_per_angstrom"].detach()
    with torch.inference_mode():
        inside, made_inside = model(molecule()), molecule()
    with torch.no_grad():
        without = model(molecule())
    for found in (inside, model(made_inside), without):
        torch.testing.assert_close(found["forces_eV_per_angstrom"].detach(), expected)


def test_weights_made_under_inference_mode_are_refused():
    with torch.inference_mode():
        model = fresh("gaunt", layers=1)
    with pytest.raises(ConventionError, match=r"outside of torch\.inference_mode"):
        model(molecule())


@pytest.mark.parametrize("product", PRODUCTS)
def test_positions_of_another_dtype_say_what_to_do(product):
    model = fresh(product, layers=1)
    with pytest.raises(ConventionError, match=r"model\.double\(\)"):
        model(molecule(dtype=torch.float64))
    fine = model.double()(molecule(dtype=torch.float64))["forces_eV_per_angstrom"]
    assert fine.dtype == torch.float64
    coarse = model.float()(molecule())["forces_eV_per_angstrom"]
    torch.testing.assert_close(coarse.double(), fine, rtol=1e-3, atol=1e-3)


def test_force_fields_on_meta_say_what_to_do():
    with torch.device("meta"), pytest.raises(ConventionError, match="Build the force field on"):
        fresh("gaunt")


@pytest.mark.parametrize(
    ("known", "asked", "determined"),
    [
        ((), (1, 2, 3), True),  # energies of isolated atoms: nothing was fitted
        (((6, 2, 1),), (6, 2, 1), True),
        (((6, 2, 1),), (12, 4, 2), True),
        (((6, 2, 1),), (4, 3, 2), False),
        (((6, 2, 1), (4, 3, 2)), (10, 5, 3), True),
        (((6, 2, 1), (4, 3, 2)), (2, 0, 1), False),
        (((6, 2, 1), (4, 3, 2), (2, 0, 1)), (9, 9, 1), True),
        (((60000, 2, 1),), (60000, 2, 2), False),
    ],
)
def test_which_energies_a_fit_determines(known, asked, determined):
    calibration = Calibration((1, 6, 8), (0.0, 0.0, 0.0), fitted_compositions=known)
    composition = torch.tensor([asked], dtype=torch.float64)
    assert calibration.determines(composition).tolist() == [determined]
