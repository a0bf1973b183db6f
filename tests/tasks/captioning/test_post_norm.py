"""Post-norm Transformer parts against those of torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolor_mtl.tasks.captioning.post_norm import EncoderLayer, GridEncoder, PostNormAttention, dropped

WIDTH, HEADS, HIDDEN = 24, 4, 40


def _reference(layer: EncoderLayer) -> nn.TransformerEncoderLayer:
    """Torch's own encoder layer with the same weights."""
    theirs = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True).eval()
    own = layer.attention
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(torch.cat([own.query.weight, own.key.weight, own.value.weight]))
        theirs.self_attn.in_proj_bias.copy_(torch.cat([own.query.bias, own.key.bias, own.value.bias]))
    pairs = (
        (theirs.self_attn.out_proj, own.out),
        (theirs.norm1, own.norm),
        (theirs.linear1, layer.feed.widen),
        (theirs.linear2, layer.feed.narrow),
        (theirs.norm2, layer.feed.norm),
    )
    for module, ours in pairs:
        module.load_state_dict(ours.state_dict())
    return theirs


@torch.no_grad()
def test_as_torch_has_it() -> None:
    layer, x = EncoderLayer(WIDTH, HEADS, HIDDEN), torch.randn(2, 7, WIDTH)
    for parameter in layer.parameters():
        parameter.normal_(0, 0.3)
    torch.testing.assert_close(layer(x, 0.0), _reference(layer)(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_is_hidden_does_not_matter() -> None:
    attention = PostNormAttention(WIDTH, HEADS)
    x, memory = torch.randn(2, 3, WIDTH), torch.randn(2, 5, WIDTH)
    visible = torch.tensor([1, 0, 1, 1, 0], dtype=torch.bool).expand(2, 1, 3, 5)
    out, weights = attention(x, attention.project(memory), 0.0, visible)
    memory[:, [1, 4]] = 1e4
    again, _ = attention(x, attention.project(memory), 0.0, visible)
    torch.testing.assert_close(out, again)
    assert not weights[..., [1, 4]].any()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, HEADS, 3))


@torch.no_grad()
def test_the_last_layer_answers() -> None:
    encoder, cells = GridEncoder(10, WIDTH, 2, HEADS, HIDDEN), torch.randn(2, 6, 10)
    x = encoder.norm(encoder.project(cells).relu())
    for layer in encoder.layers:
        x = _reference(layer)(x)  # type: ignore[arg-type]
    torch.testing.assert_close(encoder(cells, 0.0), x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_dropout_is_an_argument(share: float) -> None:
    x = torch.ones(4000)
    kept = dropped(x, share)
    assert kept.mean().item() == pytest.approx(1, abs=0.08)
    assert (kept == 0).float().mean().item() == pytest.approx(share, abs=0.05)
