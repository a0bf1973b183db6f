"""Names of the released caption part's tensors (layer 56 of ``gyolo``) in :class:`RegionCaptionHead`."""

from __future__ import annotations

from yolor_mtl.upstream.names import CONV, Names, our_name

ATTENTION: Names = {
    "attention.fc_q": ("query", None),
    "attention.fc_k": ("key", None),
    "attention.fc_v": ("value", None),
    "attention.fc_o": ("out", None),
    "layer_norm": ("norm", None),
}
FEED_FORWARD: Names = {"fc1": ("widen", None), "fc2": ("narrow", None), "layer_norm": ("norm", None)}
ENCODER_LAYER: Names = {"mhatt": ("attention", ATTENTION), "pwff": ("feed", FEED_FORWARD)}
DECODER_LAYER: Names = {
    "self_att": ("self_attention", ATTENTION),
    "vis_att1": ("grid_attention", ATTENTION),
    "vis_att2": ("region_attention", ATTENTION),
    "fc_alpha1": ("gate", None),
    "fc_alpha2": ("unused_gate", None),
    "pwff": ("feed", FEED_FORWARD),
}
CAPTION: Names = {
    "cv3.*.*": ("levels.*.*", CONV),
    "cv4.*": ("grid.*", CONV),
    "cv5.*": ("classes.*", CONV),
    "grit_transformer.grid_net.fc": ("encoder.project", None),
    "grit_transformer.grid_net.layer_norm": ("encoder.norm", None),
    "grit_transformer.grid_net.layers.*": ("encoder.layers.*", ENCODER_LAYER),
    "grit_transformer.cap_generator.word_emb.weight": ("embedding.weight", None),
    "grit_transformer.cap_generator.pos_emb.weight": ("positions", None),
    "grit_transformer.cap_generator.layers.*": ("layers.*", DECODER_LAYER),
    "grit_transformer.cap_generator.fc.weight": ("out.weight", None),
}
"""Layer 56, without ``model.56.`` before its keys."""

CAPTION_DROPPED = (
    "grit_transformer.cap_generator.running_mask_x",
    "grit_transformer.cap_generator.running_seq",
    "grit_transformer.cap_generator.layers.0.self_att.running_keys",
    "grit_transformer.cap_generator.layers.0.self_att.running_values",
)
"""State of the release's last beam search; means nothing."""


def caption_key(rest: str) -> str | None:
    """Our name, within the head, for a released tensor.

    Args:
        rest: its key without ``model.56.``.

    Returns:
        ``None`` for :data:`CAPTION_DROPPED` and for what the release does not have.
    """
    return our_name(rest, CAPTION)
