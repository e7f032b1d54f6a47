"""Messages against attention by hand; views have no numbers."""

from __future__ import annotations

import pytest
import torch

from equivariant.errors import EquivariantError
from equivariant.nn import CrossAttention, MessageEncoder, MessageLayer


def by_hand(attention, query, read):
    """Scaled dot products head by head."""
    w, b = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    q, k, v = (x @ wi.T + bi for x, wi, bi in zip((query, read, read), w, b, strict=True))
    heads = []
    for columns in torch.arange(q.shape[-1]).chunk(attention.num_heads):
        scores = q[..., columns] @ k[..., columns].transpose(-1, -2) / len(columns) ** 0.5
        heads.append(scores.softmax(-1) @ v[..., columns])
    return torch.cat(heads, -1) @ attention.out_proj.weight.T + attention.out_proj.bias


def double(module):
    torch.manual_seed(0)
    return module().double()


def test_a_layer_by_hand():
    layer = double(lambda: MessageLayer(8, 2))
    t = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    m = layer.write(t[:, :, 0])
    m = m + by_hand(layer.across, layer.norm_message(m), layer.norm_message(m))
    expected = torch.zeros_like(t)
    for view in range(3):
        y = torch.cat([t[:, view], m[:, view, None]], 1)
        y = (y + by_hand(layer.within, layer.norm(y), layer.norm(y)))[:, :5]
        expected[:, view] = y + layer.feed(y)
    torch.testing.assert_close(layer(t), expected)
    silent = double(lambda: MessageLayer(8, 2, messages=False))
    moved = t.clone()  # what another view shows
    moved[:, 2] += torch.randn(2, 5, 8)
    heard, unheard = ((f(moved)[:, 0] - f(t)[:, 0]).detach() for f in (layer, silent))
    assert heard.abs().max() > 1e-3 and float(unheard.abs().max()) == 0.0


def test_views_and_tokens_have_no_numbers():
    encoder = double(lambda: MessageEncoder(8, layers=2, heads=2))
    t = torch.randn(2, 5, 4, 8, dtype=torch.float64)
    for turn in range(1, 5):  # a turntable that starts elsewhere
        torch.testing.assert_close(encoder(t.roll(turn, 1)), encoder(t))
        found = encoder.view_tokens(t.roll(turn, 1))
        torch.testing.assert_close(found, encoder.view_tokens(t).roll(turn, 1))
    order = torch.randperm(4)
    torch.testing.assert_close(encoder(t[:, :, order]), encoder(t))
    number = torch.randn(5, 1, 8, dtype=torch.float64)  # the twin knows which view is which
    twin, moved = encoder(t + number), encoder(t.roll(1, 1) + number)
    assert (twin - moved).abs().max() > 1e-3


def test_cross_attention_by_hand_and_without_gain():
    block = double(lambda: CrossAttention(8, 2, gain=0.3))
    t, m = (torch.randn(2, n, 8, dtype=torch.float64) for n in (3, 6))
    found = by_hand(block.attention, block.norm(t), block.norm_read(m))
    torch.testing.assert_close(block(t, m), t + 0.3 * (found + block.feed(found)))
    torch.testing.assert_close(block(t, m[:, torch.randperm(6)]), block(t, m))
    nothing = double(lambda: CrossAttention(8, 2, gain=0.0))
    assert torch.equal(nothing(t, m), t)


def test_refusals():
    for call in (
        lambda: MessageLayer(8, 3), lambda: MessageEncoder(8, layers=0),
        lambda: CrossAttention(8, 0),
    ):  # fmt: skip
        with pytest.raises(EquivariantError):
            call()
