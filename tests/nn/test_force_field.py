"""Force fields: forces against differences, symmetry by the meter, the singular points."""

import math
from dataclasses import replace

import pytest
import torch
from e3nn.o3 import Irreps, TensorProduct, rand_matrix, spherical_harmonics

from equivariant.actions import IrrepsAction, Points, Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import O3, SE3
from equivariant.measure import GraphMotion
from equivariant.nn.force_field import Calibration, ForceFieldConfig, RadialBasis
from equivariant.nn.force_field.clebsch_gordan_products import (
    ClebschGordanInteraction,
    ClebschGordanPower,
)
from equivariant.nn.force_field.gaunt_products import GauntInteraction, GauntManyBody
from equivariant.nn.force_field.layer import ElementLinear
from equivariant.nn.force_field.products import channel_irreps
from equivariant.testing import assert_equivariant

PRODUCTS = ["gaunt", "gaunt_full", "clebsch_gordan", "clebsch_gordan_natural"]
CUTOFF = 3.0
CALIBRATION = Calibration((1, 6, 8), (-13.5, -1030.25, -2041.0), scale_eV=1.5, mean_neighbors=3.0)


def edges_of(positions, owner, cutoff=CUTOFF):
    distance = torch.cdist(positions.detach(), positions.detach())
    distance[owner[:, None] != owner] = math.inf
    distance.fill_diagonal_(math.inf)
    receiver, sender = (distance < cutoff).nonzero().T
    return torch.stack([sender, receiver])


def graph(counts=(5, 1, 4), seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    owner = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    positions = 1.2 * torch.randn(len(owner), 3, generator=g, dtype=torch.float64)
    numbers = torch.tensor([1, 6, 8])[torch.randint(0, 3, (len(owner),), generator=g)]
    return {
        "atomic_numbers": numbers,
        "positions_angstrom": positions.to(dtype),
        "edge_index": edges_of(positions, owner),
        "graph_index": owner,
    }


def build(product, *, dtype=torch.float64, calibration=CALIBRATION, seed=0, **settings):
    torch.manual_seed(seed)
    small = {"channels": 3, "correlation": 3, "radial_size": 4, "radial_hidden": (8,)}
    settings = small | settings
    config = ForceFieldConfig(product, cutoff_angstrom=CUTOFF, **settings)
    return config.build(calibration).to(dtype).eval()


def comparable(field):
    """Outputs as the meter takes them."""

    def f(x):
        found = field(x)
        energies = found["interaction_energies_eV"][:, None]
        forces = found["forces_eV_per_angstrom"]
        return {"energy": energies, "forces": forces, "graph_index": found["graph_index"]}

    return f


def motions(group):
    before = GraphMotion(nodes={"positions_angstrom": Points(group)}, index="graph_index")
    after = GraphMotion(
        nodes={"forces": Vectors(group)},
        graphs={"energy": Trivial(1, group)},
        index="graph_index",
    )
    return {"act_in": before, "act_out": after}


@pytest.mark.parametrize("product", PRODUCTS)
def test_forces_are_minus_the_differences_of_energies(product):
    field, x = build(product), graph((4, 1, 2))
    found = field(x)["forces_eV_per_angstrom"]
    step = 1e-5
    numbers = torch.zeros_like(found)
    for atom in range(len(found)):
        for axis in range(3):
            sides = []
            for sign in (1, -1):
                moved = x["positions_angstrom"].clone()
                moved[atom, axis] += sign * step
                y = field(x | {"positions_angstrom": moved})["interaction_energies_eV"]
                sides.append(float(y.sum()))
            numbers[atom, axis] = (sides[1] - sides[0]) / (2 * step)
    assert float(found.abs().max()) > 1e-2
    assert torch.allclose(found, numbers, rtol=1e-6, atol=1e-7 * float(found.abs().max()) + 1e-8)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_rotations_reflections_and_translations(product, dtype):
    field, x = build(product, dtype=dtype), graph((5, 4), dtype=dtype)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-3
    for group in (O3(), SE3()):
        assert_equivariant(
            comparable(field), x, **motions(group), samples=4, tolerance=tolerance,
            differentiates=True,
        )  # fmt: skip


def test_the_meter_rejects_a_force_field_that_knows_an_axis():
    field, x = build("gaunt"), graph((5, 4))
    honest = comparable(field)

    def tilted(y):
        found = honest(y)
        return found | {"energy": found["energy"] * (1 + 1e-4 * y["positions_angstrom"][0, 2])}

    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(tilted, x, **motions(O3()), samples=4, differentiates=True)


@pytest.mark.parametrize("product", PRODUCTS)
def test_permutations_of_atoms_permute_forces(product):
    field, x = build(product), graph((6,))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    place = torch.argsort(order)
    moved = {
        "atomic_numbers": x["atomic_numbers"][order],
        "positions_angstrom": x["positions_angstrom"][order],
        "edge_index": place[x["edge_index"]].flip(1),
        "graph_index": x["graph_index"],
    }
    left, right = field(moved), field(x)
    assert torch.allclose(left["energies_eV"], right["energies_eV"], atol=1e-9)
    assert torch.allclose(
        left["forces_eV_per_angstrom"], right["forces_eV_per_angstrom"][order], atol=1e-10
    )


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_batch_is_its_molecules_one_by_one(product):
    field, x = build(product), graph((5, 1, 4, 2))
    whole = field(x)
    for k in range(4):
        atoms = x["graph_index"] == k
        first = int(atoms.nonzero()[0])
        edges = x["edge_index"]
        alone = field({
            "atomic_numbers": x["atomic_numbers"][atoms],
            "positions_angstrom": x["positions_angstrom"][atoms],
            "edge_index": edges[:, atoms[edges[0]]] - first,
            "graph_index": torch.zeros(int(atoms.sum()), dtype=torch.int64),
        })  # fmt: skip
        assert torch.allclose(alone["energies_eV"][0], whole["energies_eV"][k], atol=1e-9)
        assert torch.allclose(
            alone["forces_eV_per_angstrom"], whole["forces_eV_per_angstrom"][atoms], atol=1e-11
        )


@pytest.mark.parametrize("product", PRODUCTS)
def test_an_atom_alone_has_its_own_energy_and_no_force(product):
    field = build(product, dtype=torch.float32)
    x = graph((1, 1), dtype=torch.float32)
    assert x["edge_index"].shape == (2, 0)
    for training in (False, True):
        found = field.train(training)(x)
        e0 = dict(zip(CALIBRATION.atomic_numbers, CALIBRATION.atom_energies_eV, strict=True))
        assert found["energies_eV"].tolist() == [e0[int(n)] for n in x["atomic_numbers"]]
        assert not found["forces_eV_per_angstrom"].any()
    empty = field({k: v[..., :0] if k == "edge_index" else v[:0] for k, v in x.items()})
    assert empty["energies_eV"].shape == (0,) and empty["forces_eV_per_angstrom"].shape == (0, 3)


@pytest.mark.parametrize("product", PRODUCTS)
def test_energy_and_forces_are_continuous_where_an_atom_crosses_the_cutoff(product):
    field = build(product)
    found = []
    for distance in (CUTOFF - 2e-3, CUTOFF - 1e-3, CUTOFF - 1e-9, CUTOFF + 1e-9):
        positions = torch.tensor(
            [[0.0, 0, 0], [1.1, 0.2, 0], [0, 0, distance]], dtype=torch.float64
        )
        owner = torch.zeros(3, dtype=torch.int64)
        x = {"atomic_numbers": torch.tensor([6, 1, 8]), "positions_angstrom": positions,
             "edge_index": edges_of(positions, owner), "graph_index": owner}  # fmt: skip
        y = field(x)
        edges = x["edge_index"].shape[1]
        found.append((edges, y["interaction_energies_eV"], y["forces_eV_per_angstrom"]))
    (more, e_in, f_in), (fewer, e_out, f_out) = found[2:]
    assert more > fewer
    assert abs(float(e_in - e_out)) < 1e-12 and float((f_in - f_out).abs().max()) < 1e-9
    slopes = [float((f - f_out).abs().max()) for _, _, f in found[:2]]
    assert slopes[1] < 0.35 * slopes[0] + 1e-12  # forces end with slope 0


@pytest.mark.parametrize("product", PRODUCTS)
def test_coincident_neighbors_and_unknown_elements_are_refused(product):
    field, x = build(product), graph((3,))
    x["edge_index"] = torch.tensor([[0, 1], [1, 0]])
    positions = x["positions_angstrom"].clone()
    positions[1] = positions[0]
    with pytest.raises(ConventionError, match="atoms 0 and 1"):
        field(x | {"positions_angstrom": positions})
    for number in (7, 0, -1, 99):
        with pytest.raises(ConventionError, match="atomic_numbers"):
            field(x | {"atomic_numbers": torch.full((3,), number)})


def test_malformed_graphs_and_settings_are_refused():
    field, x = build("gaunt"), graph((3,))
    with pytest.raises(ShapeError, match="edge_index"):
        field({k: v for k, v in x.items() if k != "edge_index"})
    with pytest.raises(ShapeError, match="positions_angstrom"):
        field(x | {"positions_angstrom": x["positions_angstrom"][:, :2]})
    for wrong in ({"channels": 0}, {"lmax": -1}, {"cutoff_angstrom": 0.0}, {"correlation": 0}):
        with pytest.raises(ConventionError):
            ForceFieldConfig(**wrong)
    for wrong in ({"atomic_numbers": (6, 1, 8)}, {"scale_eV": 0.0}, {"mean_neighbors": 0.0},
                  {"atom_energies_eV": (1.0,)}):  # fmt: skip
        with pytest.raises(ConventionError):
            replace(CALIBRATION, **wrong)


def test_large_total_energies_lose_nothing_in_float32():
    heavy = replace(CALIBRATION, atom_energies_eV=(-1e5, -1e6, -1e7))
    light = build("gaunt", dtype=torch.float32)
    loaded = build("gaunt", dtype=torch.float32, calibration=heavy)
    x = graph((5, 4), dtype=torch.float32)
    table = dict(zip(heavy.atomic_numbers, heavy.atom_energies_eV, strict=True))
    e0 = torch.zeros(2, dtype=torch.float64).index_add(
        0, x["graph_index"], torch.tensor([table[int(n)] for n in x["atomic_numbers"]]).double()
    )
    difference = loaded(x)["energies_eV"] - e0
    assert torch.allclose(difference, light(x)["interaction_energies_eV"].double(), atol=1e-7)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("settings", [{"layers": 3, "lmax": 1}, {"lmax": 0},
                                      {"layers": 1, "lmax": 1, "correlation": 1}])  # fmt: skip
def test_every_weight_learns_from_forces(product, settings):
    field = build(product, **settings).train()
    found = field(graph())
    loss = found["forces_eV_per_angstrom"].square().sum() + found["energies_eV"].square().sum()
    loss.backward()
    named = dict(field.named_parameters())
    assert not [n for n, p in named.items() if p.numel() and (p.grad is None or not p.grad.any())]


def test_trained_atoms_shift_energies_and_no_force():
    calibration = replace(CALIBRATION, trained_atoms=True)
    field, x = build("gaunt", calibration=calibration), graph((5, 4))
    before = field(x)
    with torch.no_grad():
        field.shift.copy_(torch.tensor([1.0, 2.0, 3.0]))
    after = field(x)
    counts = torch.zeros(2, 3, dtype=torch.float64)
    element = torch.tensor([{1: 0, 6: 1, 8: 2}[int(n)] for n in x["atomic_numbers"]])
    counts.index_put_((x["graph_index"], element), torch.ones(9).double(), accumulate=True)
    expected = 0.1 * 1.5 * counts @ torch.tensor([1.0, 2.0, 3.0]).double()
    assert torch.allclose(after["energies_eV"] - before["energies_eV"], expected)
    assert torch.equal(after["forces_eV_per_angstrom"], before["forces_eV_per_angstrom"])


def test_radial_basis_is_the_closed_form_and_ends_flat():
    basis = RadialBasis(3, cutoff_angstrom=4.0, power=5)
    r = torch.tensor([0.5, 1.7, 3.9], dtype=torch.float64)
    for i, n in [(0, 1), (1, 2), (2, 3)]:
        x = r / 4.0
        u = 1 - 21 * x**5 + 35 * x**6 - 15 * x**7
        expected = 4.0 / math.sqrt(2) / r * torch.sin(n * math.pi * x) * u
        assert torch.allclose(basis(r)[:, i], expected, atol=1e-12)
    edge = torch.tensor([4.0], dtype=torch.float64, requires_grad=True)
    value = basis.envelope(edge * (1 - 1e-6)).sum()
    (slope,) = torch.autograd.grad(value, edge, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), edge)
    assert abs(float(value.detach())) < 1e-14
    assert abs(float(slope.detach())) < 1e-9 and abs(float(bend)) < 1e-3
    for wrong in ({"size": 0}, {"cutoff_angstrom": -1.0}, {"power": 1}):
        with pytest.raises(ConventionError):
            RadialBasis(**({"size": 3, "cutoff_angstrom": 4.0} | wrong))


@pytest.mark.parametrize("kind", ["gaunt", "gaunt_full", "clebsch_gordan"])
def test_messages_add_up_turn_and_those_of_the_baseline_are_a_slow_loop(kind):
    """The loop takes e3nn's products one path, channel and edge at a time."""
    pseudo = kind != "gaunt"
    irreps = channel_irreps(2, 2, pseudo=pseudo)
    torch.manual_seed(0)
    if kind == "clebsch_gordan":
        part = ClebschGordanInteraction(irreps, irreps, lmax=2).double()
    else:
        parity = "full" if pseudo else "even"
        part = GauntInteraction(irreps, irreps, lmax=2, parity=parity).double()
    x = torch.randn(3, irreps.dim, dtype=torch.float64)
    vectors = torch.randn(4, 3, dtype=torch.float64)
    index = torch.tensor([[0, 1, 2, 0], [1, 0, 0, 2]])
    radial = torch.randn(4, part.radial_numel, dtype=torch.float64)
    found = part(x, vectors, radial, index)
    # 0 where radial weights are, and additive over edges.
    assert torch.allclose(part(x, vectors, 0 * radial, index), torch.zeros_like(found))
    single = sum(
        part(x, vectors[e : e + 1], radial[e : e + 1], index[:, e : e + 1]) for e in range(4)
    )
    assert torch.allclose(found, single, atol=1e-12)
    r = rand_matrix(dtype=torch.float64)
    turn = IrrepsAction(irreps, O3())
    moved = part(turn(r, x), vectors @ r.T, radial, index)
    assert torch.allclose(moved, turn(r, found), atol=1e-10)
    if kind == "clebsch_gordan":
        assert torch.allclose(found, slow_messages(part, x, vectors, radial, index), atol=1e-12)


def slow_messages(part, x, vectors, radial, index):
    harmonics = spherical_harmonics([0, 1, 2], vectors, normalize=True, normalization="component")
    sums = torch.zeros(3, part.product.irreps_out.dim, dtype=torch.float64)
    slices_in, slices_y = part.irreps_in.slices(), part.product.irreps_in2.slices()
    slices_out = part.product.irreps_out.slices()
    for e in range(4):
        at = 0
        for path in part.product.instructions:
            (mul, a), (_, b) = part.irreps_in[path.i_in1], part.product.irreps_in2[path.i_in2]
            _, c = part.product.irreps_out[path.i_out]
            one = TensorProduct(Irreps([(1, a)]), Irreps([(1, b)]), Irreps([(1, c)]),
                                [(0, 0, 0, "uuu", False)]).double()  # fmt: skip
            rows = x[index[0, e], slices_in[path.i_in1]].view(mul, -1)
            for u in range(mul):
                z = one(rows[u], harmonics[e, slices_y[path.i_in2]])
                columns = slices_out[path.i_out]
                start = columns.start + u * c.dim
                sums[index[1, e], start : start + c.dim] += radial[e, at + u] * z
            at += mul
    return part.linear(sums)


@pytest.mark.parametrize("kind", ["even", "full", "clebsch_gordan"])
def test_many_body_parts_turn_with_their_features_and_keep_elements_apart(kind):
    irreps = channel_irreps(2, 2, pseudo=kind != "even")
    torch.manual_seed(0)
    if kind == "clebsch_gordan":
        part = ClebschGordanPower(irreps, irreps, middle=irreps, correlation=3, elements=2).double()
    else:
        part = GauntManyBody(irreps, irreps, correlation=3, elements=2, parity=kind).double()
    x = torch.randn(4, irreps.dim, dtype=torch.float64)
    element = torch.tensor([0, 1, 0, 1])
    found = part(x, element)
    for sign in (1, -1):
        r = sign * rand_matrix(dtype=torch.float64)
        turn = IrrepsAction(irreps, O3())
        assert torch.allclose(part(turn(r, x), element), turn(r, found), atol=1e-9)
    assert not torch.allclose(part(x, 1 - element), found)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.allclose(part(x[order], element[order]), found[order])
    # Highest power is the third: the fourth difference along a line vanishes.
    line = sum(c * part(k * x, element).detach() for k, c in enumerate((1, -4, 6, -4, 1)))
    assert float(line.abs().max()) < 1e-9
    cubic = sum(c * part(k * x, element).detach() for k, c in enumerate((-1, 3, -3, 1)))
    assert float(cubic.abs().max()) > 1e-3


def test_full_parity_reaches_pseudovectors_that_even_parity_cannot():
    natural, both = channel_irreps(2, 1), channel_irreps(2, 1, pseudo=True)
    torch.manual_seed(0)
    part = GauntManyBody(natural, both, correlation=2, elements=1, parity="full").double()
    x = torch.randn(3, natural.dim, dtype=torch.float64)
    found = part(x, torch.zeros(3, dtype=torch.int64))
    pseudo = found[:, both.slices()[2]]
    assert str(both[2].ir) == "1e" and float(pseudo.detach().abs().max()) > 1e-3
    own = x[:, 2:].view(3, 2, 3)
    other = part.mixture(x)[:, 2:].view(3, 2, 3)
    cross = torch.linalg.cross(own, other).flatten(1)
    ratio = pseudo.view(3, 2, 3) / cross.view(3, 2, 3)
    assert torch.allclose(ratio, ratio[:1, :, :1].expand_as(ratio))  # the cross product


def test_element_linear_is_a_loop_over_rows():
    first, second = Irreps("2x0e+2x1o"), Irreps("3x0e+2x1e")
    layer = ElementLinear(first, second, elements=2).double()
    x, element = torch.randn(4, 8, dtype=torch.float64), torch.tensor([1, 0, 0, 1])
    weights = layer.weights["0e"]
    slow = torch.stack([weights[e] @ row[:2] for row, e in zip(x, element, strict=True)])
    found = layer(x, element)
    assert torch.allclose(found[:, :3], slow) and not found[:, 3:].any()
