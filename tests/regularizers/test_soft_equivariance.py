"""The term: zero exactly for equivariant layers, its gradient, nested groups, scales, readers."""

import pytest
import torch
from torch import nn

from equivariant.actions import EquivariantMaps, Tensors, Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import (
    O2,
    O3,
    SL,
    SO2,
    SO3,
    Embedded,
    Lorentz,
    O,
    Octahedral,
    Permutation,
    Scaling,
    TrivialGroup,
)  # fmt: skip
from equivariant.nn import Hypernetwork
from equivariant.regularizers import Penalty, SoftEquivariance
from equivariant.regularizers.penalties import KINDS

IN, OUT = 3 * Tensors(O3(), 0) + 2 * Tensors(O3(), 1), Tensors(O3(), 1) + Tensors(O3(), 2)
CANDIDATES = {"O(3)": O3(), "about z": Embedded(O2(), 3, (0, 1)), "scale": Scaling(3)}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(IN.dim, OUT.dim).double()


def equivariant_layer(group, seed=0):
    """A layer whose weights and bias commute with a group."""
    found = layer(seed)
    act_in, act_out = IN.under(group), OUT.under(group)
    with torch.no_grad():
        found.weight.copy_(EquivariantMaps(act_in, act_out).projection(found.weight))
        bias = EquivariantMaps(Trivial(1, group), act_out).projection(found.bias[:, None])
        found.bias.copy_(bias[:, 0])
    return found


def term_of(model, candidates=None, **settings):
    acts = {name: (IN, OUT) for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    return SoftEquivariance(model, candidates or CANDIDATES, representations=acts, **settings)


def oracle(model, group):
    """½ |W - P W|² + ½ |b - P b|² with a dense projector."""
    act_in, act_out = IN.under(group), OUT.under(group)
    total = 0.0
    for maps, W in (
        (EquivariantMaps(act_in, act_out), model.weight),
        (EquivariantMaps(Trivial(1, group), act_out), model.bias[:, None]),
    ):
        basis = maps.basis().flatten(0, 1)
        rest = W.flatten() - basis @ (basis.T @ W.flatten())
        total = total + 0.5 * rest.square().sum()
    return total


@pytest.mark.parametrize("group", [*CANDIDATES.values(), Octahedral(), TrivialGroup(3)], ids=str)
def test_the_term_is_the_distance_from_equivariant_layers(group):
    model = layer()
    term = term_of(model, {"group": group})
    torch.testing.assert_close(term(), oracle(model, group), atol=1e-12, rtol=1e-12)
    gradients = torch.autograd.grad(term(), [model.weight, model.bias])
    nearest = EquivariantMaps(IN.under(group), OUT.under(group)).projection(model.weight)
    torch.testing.assert_close(gradients[0], model.weight - nearest, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", [O3(), Embedded(O2(), 3, (0, 1)), Octahedral()], ids=str)
def test_zero_exactly_for_equivariant_layers(kind, group):
    """Both ways: a change inside the subspace keeps it at zero, one outside does not."""
    model = equivariant_layer(group)
    term = term_of(model, {"group": group}, penalty=kind)
    assert float(term().detach()) < 1e-12
    other = equivariant_layer(group, seed=1)
    with torch.no_grad():
        model.weight += 0.3 * other.weight
        model.bias += 0.3 * other.bias
    assert float(term().detach()) < 1e-12
    change = layer(2).weight.detach()
    change -= EquivariantMaps(IN.under(group), OUT.under(group)).projection(change)
    with torch.no_grad():
        model.weight += 0.1 * change / change.norm()
    assert float(term().detach()) > 1e-4


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "sampled"])
def test_gradients_against_differences(kind):
    model = nn.Linear(3, 3).double()
    acts = {"": (Tensors(SO3(), 1), Tensors(SO3(), 1))}
    candidates = {"SO(3)": SO3(), "about z": Embedded(SO2(), 3, (0, 1))}
    penalty = Penalty(kind, equivariant_share=0.1 if kind == "frobenius" else 0.0)
    term = SoftEquivariance(model, candidates, representations=acts, penalty=penalty)

    def value(weight, bias):
        model.weight.data, model.bias.data = weight.data, bias.data
        return _reparametrized(term, model, weight, bias)

    inputs = (normal(3, 3).requires_grad_(), normal(3, seed=1).requires_grad_())
    assert torch.autograd.gradcheck(value, inputs)


def test_spectral_norms_are_largest_singular_values():
    """Of every map and tap, beside dense projectors; the Frobenius norm is the wrong number."""
    act_in, act_out = 2 * Tensors(SO3(), 1) + Trivial(1), Tensors(SO3(), 2)
    linear, conv = nn.Linear(7, 9).double(), nn.Conv1d(7, 9, 2).double()
    wide = nn.Linear(27, 27, bias=False).double()
    model = nn.ModuleList([linear, conv, wide])
    big = Tensors(SO3(), 3)
    acts = {"0": (act_in, act_out), "1": (act_in, act_out), "2": (big, big)}
    penalty = Penalty("spectral", equivariant_share=0.3)
    groups = {"SO(3)": SO3(), "about z": Embedded(SO2(), 3, (0, 1))}
    term = SoftEquivariance(model, groups, representations=acts, penalty=penalty)
    found = term.penalties().detach()
    for g, group in enumerate(groups.values()):
        for row, (layer, (into, out)) in enumerate(zip(model, acts.values(), strict=True)):
            taps = layer.weight.detach().reshape(*layer.weight.shape[:2], -1).unbind(-1)
            pairs = [(W, into.under(group)) for W in taps]
            if layer.bias is not None:
                pairs.append((layer.bias.detach()[:, None], Trivial(1, group)))
            rests, kept, lengths = [], [], []
            for W, source in pairs:
                P = EquivariantMaps(source, out.under(group)).projection(W)
                rests.append(float(torch.linalg.svdvals(W - P)[0]))
                lengths.append(float((W - P).norm()))
                kept.append(float(torch.linalg.svdvals(P)[0]))
            assert float(found[row, g]) == pytest.approx(max(rests) + 0.3 * max(kept))
            assert abs(float(found[row, g]) - (max(lengths) + 0.3 * max(kept))) > 1e-3


def _reparametrized(term, model, weight, bias):
    del model.weight, model.bias
    model.weight, model.bias = weight, bias
    maps = SoftEquivariance(
        model, term.candidates, representations={"": (Tensors(SO3(), 1), Tensors(SO3(), 1))},
        penalty=term.penalty,
    )  # fmt: skip
    found = maps()
    del model.weight, model.bias
    model.weight, model.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    return found


def test_nested_groups_are_ordered():
    """H < G: what commutes with G commutes with H, so H's distance is never larger."""
    chain = {"1": TrivialGroup(3), "C4": Embedded(SO2(), 3, (0, 1)),
             "O(2)": Embedded(O2(), 3, (0, 1)), "O(3)": O3()}  # fmt: skip
    for seed in range(5):
        table = term_of(layer(seed), chain).penalties().sum(0).tolist()
        assert table == sorted(table)
        assert table[0] == 0
    candidates = {"cube": Octahedral(), "SO(3)": SO3(), "O(3)": O(3)}
    table = term_of(layer(), candidates).penalties().detach()
    assert float(table[0, 0]) <= float(table[0, 1]) + 1e-12
    assert float(table[0, 1]) < float(table[0, 2])


def test_sampled_penalties_are_right_on_average():
    """A quarter of the mean squared commutator is the projection penalty, in 5 standard errors."""
    model = layer()
    groups = {"O(3)": O3(), "cube": Octahedral()}
    exact = term_of(model, groups).penalties().detach()[0]
    term = term_of(model, groups, penalty=Penalty("sampled", samples=64))
    drawn = torch.stack([term.penalties().detach()[0] for _ in range(40)])
    error = drawn.std(0) / len(drawn) ** 0.5
    assert bool(((drawn.mean(0) - exact).abs() <= 5 * error).all())
    assert bool((drawn.std(0) > 0).all())


def test_scale_free_levels():
    """They do not change when weights shrink; of random weights they are 1 on average."""
    model = layer()
    term = term_of(model, penalty="scale_free")
    before = term().detach()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1e-3
    torch.testing.assert_close(term().detach(), before)
    # The plain penalty does shrink: this is what the scale-free form is for.
    assert float(term_of(model)().detach()) < 1e-4
    levels = []
    for seed in range(30):
        drawn = nn.Linear(IN.dim, OUT.dim).double()
        with torch.no_grad():
            drawn.weight.copy_(normal(OUT.dim, IN.dim, seed=seed))
            drawn.bias.copy_(normal(OUT.dim, seed=100 + seed))
        levels.append(term_of(drawn).relative()[0])
    drawn = torch.stack(levels)
    error = drawn.std(0) / len(drawn) ** 0.5
    assert bool(((drawn.mean(0) - 1).abs() <= 5 * error).all())


@pytest.mark.parametrize("group", [Lorentz(), SL(2)], ids=str)
def test_groups_that_are_not_compact(group):
    act = Tensors(group, 1) + Tensors(group, 1, 1)
    model = nn.Linear(act.dim, act.dim, bias=False).double()
    for kind in ("projection", "generators", "frobenius"):
        term = SoftEquivariance(model, [group], representations={"": (act, act)}, penalty=kind)
        assert float(term().detach()) > 0.1
    with torch.no_grad():
        model.weight.copy_(EquivariantMaps(act, act).projection(normal(act.dim, act.dim)))
    for kind in ("projection", "generators", "frobenius"):
        term = SoftEquivariance(model, [group], representations={"": (act, act)}, penalty=kind)
        assert float(term().detach()) < 1e-10
    g, x = (
        group.sample(50, generator=torch.Generator().manual_seed(0), scale=0.3),
        normal(50, act.dim),
    )
    torch.testing.assert_close(model(act(g, x)), act(g, model(x)), atol=1e-9, rtol=1e-9)


def test_blocks_of_many_copies_and_large_pieces():
    """Against the dense projector, over layers of different widths, and without a complement."""
    hidden = 3 * Tensors(SO3(), 1) + 2 * Tensors(SO3(), 2) + Trivial(4)
    model = nn.Sequential(nn.Linear(12, hidden.dim), nn.Tanh(), nn.Linear(hidden.dim, 30)).double()
    big = Tensors(SO3(), 3) + Tensors(SO3(), 1)
    acts = {"0": (4 * Tensors(SO3(), 1), hidden), "2": (hidden, big)}
    term = SoftEquivariance(model, [SO3()], representations=acts)
    expected = 0.0
    for name, (act_in, act_out) in acts.items():
        own = dict(model.named_modules())[name]
        bias = EquivariantMaps(Trivial(1, SO3()), act_out)
        for maps, W in ((EquivariantMaps(act_in, act_out), own.weight), (bias, own.bias[:, None])):
            basis = maps.basis().flatten(0, 1)
            rest = W.flatten() - basis @ (basis.T @ W.flatten())
            expected = expected + 0.5 * rest.square().sum()
    torch.testing.assert_close(term(), expected, atol=1e-10, rtol=1e-10)
    wide = nn.Linear(27, 27, bias=False).double()
    acts = {"": (Tensors(SO3(), 3), Tensors(SO3(), 3))}  # 729 entries: projected, no complement
    term = SoftEquivariance(wide, [SO3()], representations=acts)
    gradient = torch.autograd.grad(term(), wide.weight)[0]
    nearest = EquivariantMaps(*acts[""]).projection(wide.weight)
    torch.testing.assert_close(gradient, wide.weight - nearest, atol=1e-12, rtol=0)


def test_convolutions_attention_and_hypernetworks():
    act_in, act_out = 2 * Tensors(SO3(), 1), Tensors(SO3(), 1)
    for conv in (nn.Conv1d(6, 3, 3), nn.Conv2d(6, 3, (2, 3)), nn.ConvTranspose2d(6, 3, 2)):
        conv = conv.double()
        term = SoftEquivariance(conv, [SO3()], representations={"": (act_in, act_out)})
        maps = EquivariantMaps(act_in, act_out)
        taps = conv.weight.flatten(2).unbind(-1)
        if isinstance(conv, nn.ConvTranspose2d):
            taps = [tap.T for tap in taps]
        expected = sum(0.5 * (W - maps.projection(W)).square().sum() for W in taps)
        torch.testing.assert_close(term(), expected + 0.5 * conv.bias.square().sum())
        with torch.no_grad():
            for tap in taps:
                tap.copy_(maps.projection(tap))
            conv.bias.zero_()
        g = SO3().sample(4, generator=torch.Generator().manual_seed(0))
        x = normal(4, 6, *([5] * (conv.weight.ndim - 2)))
        moved = act_in(g[:, None], x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)
        out = conv(x).flatten(2).transpose(1, 2)
        torch.testing.assert_close(conv(moved).flatten(2).transpose(1, 2), act_out(g[:, None], out))
        assert float(term().detach()) < 1e-20
    act = 4 * Tensors(SO3(), 1)
    attention = nn.MultiheadAttention(12, 2, batch_first=True).double()
    term = SoftEquivariance(attention, [SO3()], representations={"": (act, act)})
    assert term.layers == ("",)
    maps = EquivariantMaps(act, act)
    with torch.no_grad():
        for rows in attention.in_proj_weight.split(12):
            rows.copy_(maps.projection(rows))
        attention.out_proj.weight.copy_(maps.projection(attention.out_proj.weight))
    assert float(term().detach()) < 1e-20
    g, x = SO3().sample(2, generator=torch.Generator().manual_seed(0)), normal(2, 5, 12)
    moved = act(g[:, None], x)
    still = attention(x, x, x, need_weights=False)[0]
    torch.testing.assert_close(
        attention(moved, moved, moved, need_weights=False)[0], act(g[:, None], still)
    )
    hyper = Hypernetwork(SO3(), 6, "matrix").double()
    features, vectors = Vectors(SO3(), 3), Vectors(SO3(), 2)
    # c(h g) = h c(g) entry by entry of columns: rows of the matrix are what moves.
    term = SoftEquivariance(hyper, [SO3()], representations={"": (features, vectors)})
    assert float(term().detach()) > 0.1
    with torch.no_grad():  # ρ(g) = g on both vectors, its features column by column
        hyper.weight.zero_()
        for i in range(3):
            for j in range(3):
                hyper.weight[3 * j + i, i, j] = hyper.weight[3 * j + i, 3 + i, 3 + j] = 1.0
    assert float(term().detach()) < 1e-20


def test_layers_that_declare_themselves_and_refusals():
    model = nn.Sequential(layer(), nn.Tanh(), layer())
    with pytest.raises(ConventionError, match="act_in"):
        SoftEquivariance(model, CANDIDATES)
    model[0].act_in, model[0].act_out = IN, OUT
    assert SoftEquivariance(model, CANDIDATES).layers == ("0",)
    assert not [name for name in model.state_dict() if "act" in name]
    with pytest.raises(ConventionError, match="at least one group"):
        SoftEquivariance(model, {})
    with pytest.raises(ConventionError, match="different"):
        SoftEquivariance(model, [O3(), O3()])
    with pytest.raises(ConventionError, match="different"):
        SoftEquivariance(model, {"a": O3(), "b": O3()})
    with pytest.raises(ConventionError, match="3 x 3"):
        SoftEquivariance(model, [SO2()])
    with pytest.raises(ConventionError, match="names"):
        SoftEquivariance(model, CANDIDATES, representations={"9": (IN, OUT)})
    with pytest.raises(ShapeError, match="inputs"):
        SoftEquivariance(model, CANDIDATES, representations={"0": (OUT, IN)})
    with pytest.raises(ConventionError, match="linear layer"):
        SoftEquivariance(model, CANDIDATES, representations={"1": (IN, OUT)})


def test_dtypes_devices_and_going_on():
    model = layer().float()
    term = term_of(model, penalty=Penalty("sampled", samples=2))
    assert term().dtype == torch.float32
    saved = term.state_dict()
    first = term().detach()
    term.load_state_dict(saved)
    torch.testing.assert_close(term().detach(), first)
    exact = term_of(layer())().detach()
    torch.testing.assert_close(term_of(model)().detach().double(), exact, rtol=1e-5, atol=0)


def test_permutations_as_candidates():
    """A mean over points commutes with all orders of them; a weighted mean does not."""
    act = Tensors(Permutation(4), 1)
    model = nn.Linear(4, 1, bias=False).double()
    term = SoftEquivariance(model, [Permutation(4)], representations={"": (act, Trivial(1))})
    with torch.no_grad():
        model.weight.fill_(0.25)
    assert float(term().detach()) < 1e-25
    with torch.no_grad():
        model.weight[0, 0] = 1.0
    assert float(term().detach()) == pytest.approx(0.5 * 0.75**2 * 0.75)
