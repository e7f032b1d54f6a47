"""Losses as one calls them: by place, by name, summed, weighed; and what is refused at the door."""

import copy
import io
import warnings
from dataclasses import replace

import jaxtyping
import pytest
import torch
import torch.nn.functional as F

from equivariant.actions import Trivial
from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import (
    Bank,
    Contrast,
    Kernel,
    Labels,
    Learned,
    Loss,
    Objective,
    Side,
    Soft,
    Step,
    alignment,
    contrast,
    preset,
)
from equivariant.losses.temperatures.temperature import temperature_of


def draw(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


A, B, LABEL = draw(9, 5), draw(9, 5, 1), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 0])


def cross_entropy(z, positive, tau=0.1):
    """-Σ_p log softmax over all but the row itself, averaged over p and over rows with one."""
    z = F.normalize(z)
    logits = (z @ z.T / tau).fill_diagonal_(-torch.inf)
    logs = logits.log_softmax(1).masked_fill(torch.eye(len(z), dtype=torch.bool), 0.0)
    positive = positive & ~torch.eye(len(z), dtype=torch.bool)
    count = positive.sum(1)
    rows = -(positive * logs).sum(1)[count > 0] / count[count > 0]
    return rows.mean()


def test_sides_by_place_are_sides_by_name():
    for name in ("nt_xent", "clip", "barlow", "vicreg", "simclr"):
        loss = preset(name).build().double()
        torch.testing.assert_close(loss(A, B).total, loss(a=A, b=B).total, rtol=0, atol=0)
    assert preset("nt_xent").build()(A, B).total != preset("nt_xent").build()(A, A.clone()).total
    moco, bank = preset("moco").build(), draw(6, 5, 2)
    torch.testing.assert_close(moco(A, B, bank).total, moco(a=A, b=B, bank=bank).total)
    torch.testing.assert_close(Loss(preset("dcl"))(A, B).total, preset("dcl").build()(A, B).total)


def test_labels_by_place_or_by_name_with_one_view_and_with_two():
    loss = preset("supcon_out").build()
    one = loss(A, LABEL)
    torch.testing.assert_close(one.total, cross_entropy(A, LABEL[:, None] == LABEL))
    twice = LABEL.repeat(2)
    two = cross_entropy(torch.cat([A, B]), twice[:, None] == twice)
    torch.testing.assert_close(loss(A, B, LABEL).total, two)
    torch.testing.assert_close(loss(A, B, label=LABEL).total, two)
    torch.testing.assert_close(loss(A, b=B, label=LABEL).total, two)
    given = Side.of(A, label=LABEL)
    torch.testing.assert_close(loss(given).total, one.total)


def test_one_tensor_as_both_views_would_count_each_row_as_its_own_positive():
    loss = preset("supcon_out").build()
    with pytest.raises(ConventionError, match="Pass one view alone"):
        loss(A, A, LABEL)
    with pytest.raises(ConventionError, match="one tensor as a and b"):
        loss(a=Side.of(A, label=LABEL), b=Side.of(A, label=LABEL))


def test_rows_without_a_label_attract_their_other_view_alone():
    label = torch.tensor([0, -1, 2, 0, -1, 2, 0, -1, 0])
    key = torch.tensor([0, 11, 2, 0, 14, 2, 0, 17, 0]).repeat(2)
    for name in ("supcon_out", "supcon_in", "supcon_each"):
        loss = preset(name).build()
        torch.testing.assert_close(loss(A, B, label).total, loss(A, B, key[:9]).total)
    expected = cross_entropy(torch.cat([A, B]), key[:, None] == key)
    torch.testing.assert_close(preset("supcon_out").build()(A, B, label).total, expected)
    alone = preset("supcon_out").build()(A, label)
    assert alone.contrasts["supcon_out"].valid.tolist() == (label >= 0).tolist()
    with pytest.raises(ConventionError, match="one integer"):
        contrast(Side.of(A, label=A[:, 0]), Side.of(B, label=B[:, 0]), Labels())


def test_lists_of_labels_equal_tiles():
    label = torch.tensor([0, -1, 2, 0, -1, 2, 0, -1, 0])
    side = Side.views(A, B, label=label)
    few = Labels().not_self().entries(side, side, 1000)
    tile = Labels().not_self().tile(side, side)
    listed = torch.zeros(18, 18, dtype=torch.bool)
    listed[few.row, few.column] = few.positive
    assert torch.equal(listed, tile.positive)


def test_values_per_anchor_come_with_the_value():
    value = preset("supcon_out").build()(A, B, LABEL)
    found = value.contrasts["supcon_out"]
    assert isinstance(found, Contrast)
    torch.testing.assert_close(found.per_anchor.mean(), value.total)
    both = preset("clip").build().double()(A, B).contrasts
    assert list(both) == ["clip_a_b", "clip_b_a"]
    assert preset("barlow").build()(A, B).contrasts == {}


def test_no_positive_anywhere_is_said():
    loss = preset("supcon_out").build()
    with pytest.warns(UserWarning, match="supcon_out: no anchor counts"):
        assert loss(A, torch.arange(9)).total == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(A, torch.tensor([0, 0, *range(1, 8)]))


def test_simclr_and_vicreg_need_no_moved_views_and_others_do():
    moved = draw(9, 5, 2)
    for name in ("simclr", "vicreg"):
        loss = preset(name).build()
        torch.testing.assert_close(loss(A, B).total, loss(A, B, A).total)
        assert loss(A, B).total != loss(A, B, moved).total
        with_action = Objective(preset(name), Trivial(5))(A, B, torch.eye(3).double())
        torch.testing.assert_close(loss(A, B).total, with_action.total)
    with pytest.raises(ConventionError, match="called 'moved'"):
        preset("equivariant_nce").build()(a=A, b=B)


def test_sums_and_multiples_of_presets():
    both = preset("nt_xent") + 0.5 * preset("barlow")
    value = both.build()(A, B)
    parts = [preset(name).build()(A, B).total for name in ("nt_xent", "barlow")]
    torch.testing.assert_close(value.total, parts[0] + 0.5 * parts[1])
    assert set(value.terms) == {"nt_xent", "barlow"}
    assert list(both.sides) == ["a", "b"]
    torch.testing.assert_close((2.0 * both).build()(A, B).total, 2 * value.total)
    twice = preset("infonce", name="sharp") + preset("infonce", tau=1.0, name="soft")
    assert set(twice.build()(A, B).terms) == {"sharp", "soft"}
    assert next(t.key for t in preset("vicreg", name="v").terms) == "v.align"
    with pytest.raises(ConventionError, match=r"name="):
        (preset("infonce") + preset("infonce")).build()
    with pytest.raises(ConventionError, match="parts"):
        preset("sie") + replace(preset("exact"), parts=("one", "two"))


def clustered():
    scores, cluster = draw(9, 4, 3), torch.arange(9) % 3
    return {
        "a": Side.of(A, scores=scores, cluster=cluster),
        "b": Side.of(B, scores=scores.flip(0), cluster=cluster),
    }


def test_steps_of_one_name_do_not_overwrite_each_other():
    """SwAV and DINO both make prototypes and taught rows."""

    def terms(*plans):
        loss = Loss([item for plan in plans for item in plan]).double().eval()
        return {name: value.item() for name, value in loss(**clustered()).terms.items()}

    torch.manual_seed(0)
    swav = preset("swav", dim=5, prototypes=7).plan
    dino = preset("dino", dim=5, prototypes=4).plan
    alone = {**terms(swav), **terms(dino)}
    assert alone["swav"] != alone["dino"]
    assert terms(swav, dino) == alone
    assert terms(dino, swav) == alone


def test_protoclip_in_both_directions():
    there = preset("protoclip", clusters=3)
    back = preset("protoclip", clusters=3, name="back").over(a="other", other="a")
    cluster = torch.arange(9) % 3
    x, y = Side.of(A, cluster=cluster), Side.of(B, cluster=cluster)
    value = (0.5 * there + 0.5 * back).build().double()(a=x, other=y)
    one = there.build().double()(a=x, other=y).total
    two = there.build().double()(a=y, other=x).total
    assert one != two
    torch.testing.assert_close(value.terms["protoclip"], one.detach())
    torch.testing.assert_close(value.terms["back"], two.detach())
    with pytest.raises(ConventionError, match="names of its sides"):
        there.over(nothing="a")


def test_a_step_does_not_hide_a_side():
    loss = Loss([Step("b", Side.detach, ("a",)), *preset("infonce").plan])
    with pytest.raises(ConventionError, match="no side called 'b'"):
        loss(a=A, b=B)


def test_simsiam_and_byol_by_their_formulas():
    p_a, p_b, z_a, z_b = (draw(6, 4, seed).requires_grad_() for seed in range(4))
    cos = F.cosine_similarity
    simsiam = preset("simsiam").build()(p_a, p_b, z_a, z_b).total
    expected = -(cos(p_a, z_b.detach()).mean() + cos(p_b, z_a.detach()).mean()) / 2
    torch.testing.assert_close(simsiam, expected)
    byol = preset("byol").build()(p_a, p_b, target_a=z_a, target_b=z_b).total
    expected = 2 - 2 * cos(p_a, z_b.detach()) + 2 - 2 * cos(p_b, z_a.detach())
    torch.testing.assert_close(byol, expected.mean())
    for value in (simsiam, byol):
        gradients = torch.autograd.grad(value, (p_a, z_a), allow_unused=True)
        assert gradients[0].abs().sum() > 0
        assert gradients[1] is None


def test_a_name_that_is_none_finds_what_was_meant():
    for name, meant in (
        ("supcon", ("supcon_out", "supcon_in", "supcon_each")),
        ("NT-Xent", ("nt_xent",)),
        ("info_nce", ("infonce",)),
        ("barlow_twins", ("barlow",)),
    ):
        with pytest.raises(ConventionError, match="Did you mean") as refusal:
            preset(name)
        assert all(one in str(refusal.value).partition("Did you mean")[2] for one in meant)
    assert preset(name="dcl").name == "dcl"
    assert preset("w_mse", method="zca").settings["method"] == "zca"


def test_the_method_is_a_setting_of_every_contrast():
    values = [preset("nt_xent", method=m).build()(A, B).total for m in ("dense", "tiled", "auto")]
    torch.testing.assert_close(values[0], values[1])
    assert preset("clip", method="dense").terms[0].method == "dense"
    with pytest.raises(ConventionError, match="one way only"):
        preset("barlow", method="dense").build()
    with pytest.raises(ConventionError, match="auto, dense or tiled"):
        preset("nt_xent", method="sparse")


def test_banks_are_sides():
    bank = Bank(8, 5, dtype=torch.float64)
    bank.push(draw(6, 5, 2))
    loss = preset("moco").build()
    expected = loss(A, B, draw(6, 5, 2)).total
    torch.testing.assert_close(loss(a=A, b=B, bank=bank).total, expected)
    torch.testing.assert_close(loss(A, B, bank.rows()).total, expected)


def test_ids_below_zero_are_ids():
    loss = preset("moco").build()
    shifted = [Side.of(z, id=torch.arange(9) - 5) for z in (A, B)]
    expected = loss(A, B, draw(6, 5, 2)).total
    torch.testing.assert_close(loss(*shifted, draw(6, 5, 2)).total, expected)
    symile = preset("symile").build().double()
    three = [A, B, draw(9, 5, 2)]
    values = [
        symile(*sides, generator=torch.Generator().manual_seed(0)).total
        for sides in (three, [Side.of(z, id=torch.arange(9) - 5) for z in three])
    ]
    torch.testing.assert_close(*values)


def test_sides_of_unequal_length_are_not_paired_by_place():
    for name in ("infonce", "clip", "nt_xent"):
        with pytest.raises(ShapeError, match="9 of a, 6 of b"):
            preset(name).build()(A, B[:6])
    with pytest.raises(ShapeError, match="9 of a"):
        preset("moco").build()(A, B[:6], draw(7, 5))
    named = Side.of(A, id=torch.arange(9)), Side.of(B[:6], id=torch.arange(6))
    value = preset("infonce").build()(*named)  # said by their ids, it is what is meant
    assert value.contrasts["infonce"].valid.tolist() == [True] * 6 + [False] * 3


def test_what_is_no_temperature_is_refused_before_a_batch_comes():
    tau = torch.nn.Parameter(torch.tensor(0.1))
    with pytest.raises(ConventionError, match="Learned"):
        temperature_of(tau)
    loss = preset("nt_xent", tau=Learned(0.1)).build()
    loss(A.float(), B.float()).total.backward()
    assert loss.networks[0].log_tau.grad.abs() > 0


def test_what_is_no_batch_is_refused_at_the_door():
    loss = preset("infonce").build()
    with pytest.raises(ConventionError, match="floating point"):
        loss(A.to(torch.complex128), B)
    with pytest.raises(ConventionError, match="floating point"):
        Side.of(torch.ones(3, 2, dtype=torch.int64))
    with pytest.raises(ConventionError, match="one more"):
        loss(A, B, A)
    with pytest.raises(ConventionError, match="a twice"):
        loss(A, a=B)
    with pytest.raises(ShapeError, match="one label for each object"):
        preset("supcon_out").build()(A, LABEL[:4])
    numbers = preset("isogclr", samples=9).build()
    with pytest.raises(ConventionError, match="0 to 8"):
        numbers(A, B, sample=torch.arange(1, 10))
    with pytest.raises(ConventionError, match="one integer"):
        numbers(A, B, sample=torch.arange(9.0))


def test_nan_goes_through_weights_targets_and_selections():
    nan = torch.full((), torch.nan, dtype=torch.float64)
    ids = torch.arange(9)
    soft = torch.eye(9, dtype=torch.float64)
    soft[0, 1] = nan
    far = torch.rand(9, 9, dtype=torch.float64)
    far[0, 1] = nan
    position = draw(9, 1)[:, 0]
    position[0] = nan
    broken = A.clone()
    broken[3] = nan
    cases = [
        preset("g2l").build()(a=Side.of(A, geodesic=far), b=B).total,
        preset("hard_contrastive", share=0.2).build()(broken, B).total,
        contrast(Side.of(A, y=position), Side.of(B, y=position), Kernel("y", 1.0)).mean(),
        preset("infonce", method="tiled").build()(broken, B).total,
        preset("nt_xent", method="tiled").build()(broken, B).total,
        preset("siglip").build().double()(broken, B).total,
    ]
    cases.append(contrast(Side.of(A, id=ids, targets=soft), Side.of(B, id=ids), Soft()).mean())
    cases.append(alignment(broken, B, power=1.0))
    assert [bool(value.isnan()) for value in cases] == [True] * len(cases)


@pytest.mark.parametrize("name", ["nt_xent", "clip", "siglip", "swav", "vicreg", "byol", "simclr"])
def test_copies_of_a_loss_are_losses(name):
    settings = {"prototypes": 4, "dim": 5} if name == "swav" else {}
    loss = preset(name, **settings).build().double()
    sides = (A, B) if name != "byol" else (A, B, B, A)
    expected = loss(*sides).total
    file = io.BytesIO()
    torch.save(loss, file)
    file.seek(0)
    for again in (copy.deepcopy(loss), torch.load(file, weights_only=False)):
        torch.testing.assert_close(again(*sides).total, expected, rtol=0, atol=0)


def test_names_of_sides_that_change_twice():
    there = preset("infonce").over(a="b", b="a")
    back = there.over(a="b", b="a").build()
    torch.testing.assert_close(back(a=A, b=B).total, preset("infonce").build()(a=A, b=B).total)
    assert there.build()(a=A, b=B).total != back(a=A, b=B).total
    chained = preset("clip").over(a="x").over(x="y").build()
    torch.testing.assert_close(chained(y=A, b=B).total, preset("clip").build()(A, B).total)


@pytest.fixture
def unchecked():
    """No type checks: what users without the import hook see."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_numbers_that_are_learned_start_from_numbers(unchecked):
    for tau in (torch.tensor(0.1, requires_grad=True), Learned(0.1), "0.1", None):
        with pytest.raises(ConventionError, match="a number to start from"):
            preset("clip", tau=tau).build()
    assert preset("siglip", b=-10).build()(A.float(), B.float()).total > 0
    for t in (0, -1.0):
        with pytest.raises(ConventionError, match="t: expected a number above 0"):
            preset("siglip", t=t).build()


def test_labels_come_once():
    with pytest.raises(ConventionError, match="labels once"):
        preset("supcon_out").build()(A, LABEL, LABEL)


def test_parameters_that_take_the_place_of_a_terms_own():
    """SigLIP's bias stands inside of a term: functional calls and assigned weights reach it."""
    loss = preset("siglip").build().double()
    parameters = dict(loss.named_parameters())
    names, values = list(parameters), list(parameters.values())
    expected = torch.autograd.grad(loss(A, B).total, values)

    def value(own):
        return torch.func.functional_call(loss, own, (A, B)).total

    found = torch.func.grad(value)({name: p.detach() for name, p in parameters.items()})
    for name, gradient in zip(names, expected, strict=True):
        torch.testing.assert_close(found[name], gradient)
        assert float(gradient.abs()) > 1e-3
    moved = {name: p.detach() + 1.0 for name, p in loss.state_dict().items()}
    other, assigned = preset("siglip").build().double(), preset("siglip").build().double()
    other.load_state_dict(moved)
    assigned.load_state_dict(moved, assign=True)
    torch.testing.assert_close(assigned(A, B).total, other(A, B).total)
    assigned(A, B).total.backward()
    assert all(p.grad is not None for p in assigned.parameters())
