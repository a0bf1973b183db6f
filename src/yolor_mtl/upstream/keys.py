"""Names of the released networks' tensors in ours: a release is a table of layers over shared tables of blocks."""

from __future__ import annotations

from collections.abc import Mapping

from yolor_mtl.upstream.caption_keys import caption_key
from yolor_mtl.upstream.names import CONV, Names, our_name

REP: Names = {"conv1": ("wide", CONV), "conv2": ("narrow", CONV)}
BOTTLENECK: Names = {"cv1": ("rep", REP), "cv2": ("conv", CONV)}
CSP: Names = {
    "cv1": ("main", CONV),
    "cv2": ("skip", CONV),
    "cv3": ("out", CONV),
    "m.*": ("blocks.*", BOTTLENECK),
}
GELAN: Names = {
    "cv1": ("split", CONV),
    "cv2.0": ("first.0", CSP),
    "cv2.1": ("first.1", CONV),
    "cv3.0": ("second.0", CSP),
    "cv3.1": ("second.1", CONV),
    "cv4": ("out.0", CONV),
    "cvcap": ("out.1", CONV),
}
AVERAGE_DOWN: Names = {"cv1": ("strided", CONV), "cv2": ("after_pool", CONV)}
SPP_ELAN: Names = {"cv1": ("entrance", CONV), "cv5": ("out", CONV)}
SPP_CSP: Names = {
    "cv1": ("long.0", CONV),
    "cv3": ("long.1", CONV),
    "cv4": ("long.2", CONV),
    "cv2": ("short", CONV),
    "cv5": ("after.0", CONV),
    "cv6": ("after.1", CONV),
    "cv7": ("out", CONV),
}
TOWER: Names = {"0": ("0.0", CONV), "1": ("0.1", CONV), "2": ("1.conv", None)}
"""Two convolutions and the output."""

THREE_TASK_HEAD: Names = {
    "cv2.*": ("heads.detection.branches.main.boxes.*", TOWER),
    "cv3.*": ("heads.detection.branches.main.classes.*", TOWER),
    "dfl.conv.weight": ("heads.detection.branches.main.steps", None),
    "cv4.*": ("heads.instance.branches.main.coefficients.*", TOWER),
    "proto.cv1": ("heads.instance.branches.main.proto.0", CONV),
    "proto.cv2": ("heads.instance.branches.main.proto.1", CONV),
    "proto.cv3": ("heads.instance.branches.main.proto.2", CONV),
    "uconv.cv1": ("heads.semantic.branches.main.0", CONV),
    "uconv.cv2": ("heads.semantic.branches.main.1.conv", None),
}


def _layers(table: Mapping[int, tuple[str, Names | None]]) -> Names:
    return {f"model.{index}": row for index, row in table.items()}


def _elan(index: int, convs: int, name: str) -> dict[int, tuple[str, Names]]:
    """An ELAN block that starts at a layer: two 1x1 branches, the chain and, after the concatenation, the output."""
    rows = {index: (f"{name}.short", CONV), index + 1: (f"{name}.long", CONV)}
    rows |= {index + 2 + i: (f"{name}.chain.{i}", CONV) for i in range(convs)}
    return rows | {index + convs + 3: (f"{name}.out", CONV)}


def _down(index: int, name: str) -> dict[int, tuple[str, Names]]:
    """The three convolutions of a halving that starts with the one after its pooling."""
    parts = ("after_pool", "before_stride", "strided")
    return {index + i: (f"{name}.{part}", CONV) for i, part in enumerate(parts)}


YOLOV7_AF_PAN = _layers(
    {
        **{i: (f"trunk.backbone.stem.{i}", CONV) for i in range(4)},
        **_elan(4, 4, "trunk.backbone.stages.0"),
        **_down(13, "trunk.backbone.downs.0"),
        **_elan(17, 4, "trunk.backbone.stages.1"),
        **_down(26, "trunk.backbone.downs.1"),
        **_elan(30, 4, "trunk.backbone.stages.2"),
        **_down(39, "trunk.backbone.downs.2"),
        **_elan(43, 4, "trunk.backbone.stages.3"),
        51: ("trunk.neck.pool", SPP_CSP),
        52: ("trunk.neck.reduce_5", CONV),
        54: ("trunk.neck.lateral_4", CONV),
        **_elan(56, 4, "trunk.neck.top_4"),
        64: ("trunk.neck.reduce_4", CONV),
        66: ("trunk.neck.lateral_3", CONV),
        **_elan(68, 4, "trunk.neck.top_3"),
        **_down(77, "trunk.neck.down_3"),
        **_elan(81, 4, "trunk.neck.bottom_4"),
        **_down(90, "trunk.neck.down_4"),
        **_elan(94, 4, "trunk.neck.bottom_5"),
        102: ("trunk.neck.out.p3", CONV),
        103: ("trunk.neck.out.p4", CONV),
        104: ("trunk.neck.out.p5", CONV),
        105: ("", THREE_TASK_HEAD),
    }
)


def _gelan_backbone(first: int, name: str) -> dict[int, tuple[str, Names]]:
    """Two convolutions, then a block and a halving by turns."""
    rows = {first + i: (f"{name}.stem.{i}", CONV) for i in range(2)}
    rows |= {first + 2 + 2 * i: (f"{name}.stages.{i}", GELAN) for i in range(4)}
    return rows | {first + 3 + 2 * i: (f"{name}.downs.{i}", AVERAGE_DOWN) for i in range(3)}


def _gelan_neck(first: int) -> dict[int, tuple[str, Names]]:
    """The neck whose first enlarging is the layer given."""
    return {
        first + 2: ("trunk.neck.top_4", GELAN),
        first + 5: ("trunk.neck.top_3", GELAN),
        first + 6: ("trunk.neck.down_3", AVERAGE_DOWN),
        first + 8: ("trunk.neck.bottom_4", GELAN),
        first + 9: ("trunk.neck.down_4", AVERAGE_DOWN),
        first + 11: ("trunk.neck.bottom_5", GELAN),
    }


GELAN_C_PAN = _layers(
    {
        **_gelan_backbone(0, "trunk.backbone"),
        9: ("trunk.pool.0", SPP_ELAN),
        **_gelan_neck(10),
        22: ("", THREE_TASK_HEAD),
    }
)


PARTIAL_ATTENTION: Names = {
    "cv1": ("entrance", CONV),
    "cv2": ("out", CONV),
    "attn.qkv": ("attention.qkv", CONV),
    "attn.proj": ("attention.project", CONV),
    "attn.pe": ("attention.places", CONV),
    "ffn.*": ("feed_forward.*", CONV),
}
SEPARABLE_TOWER: Names = {**{str(i): (f"0.{i}", CONV) for i in range(4)}, "4": ("1.conv", None)}
"""Two pairs of a depthwise and a 1x1 convolution, and the output."""

BOXES, MASKS, MAPS = (f"heads.{task}.branches" for task in ("detection", "instance", "semantic"))

FOUR_TASK_HEAD: Names = {
    "cv2.*": (f"{BOXES}.aux.boxes.*", TOWER),
    "cv3.*": (f"{BOXES}.aux.classes.*", SEPARABLE_TOWER),
    "cv4.*": (f"{BOXES}.many.boxes.*", TOWER),
    "cv5.*": (f"{BOXES}.many.classes.*", SEPARABLE_TOWER),
    "cv6.*": (f"{BOXES}.main.boxes.*", TOWER),
    "cv7.*": (f"{BOXES}.main.classes.*", SEPARABLE_TOWER),
    "dfl.conv.weight": (f"{BOXES}.aux.steps", None),
    "dfl2.conv.weight": (f"{BOXES}.many.steps", None),
    "dfl3.conv.weight": (f"{BOXES}.main.steps", None),
    "proto": (f"{MASKS}.aux.proto.0", CONV),
    "proto2": (f"{MASKS}.main.proto.0", CONV),
    "uconv": (f"{MAPS}.aux.0.conv", None),
    "uconv2": (f"{MAPS}.main.0.conv", None),
    "cv8.*": (f"{MASKS}.aux.coefficients.*", TOWER),
    "cv9.*": (f"{MASKS}.main.coefficients.*", TOWER),
}


def _fine(index: int, name: str) -> dict[int, tuple[str, Names]]:
    """A block, an enlarging, and two convolutions."""
    return {
        index: (f"trunk.fine.{name}.block", GELAN),
        index + 2: (f"trunk.fine.{name}.grouped", CONV),
        index + 3: (f"trunk.fine.{name}.out", CONV),
    }


def _second_backbone() -> dict[int, tuple[str, Names]]:
    """As the first, but that before each stage after the first a layer adds what the first backbone gives."""
    name = "trunk.auxiliary.backbone"
    rows = {27 + i: (f"{name}.stem.{i}", CONV) for i in range(2)} | {29: (f"{name}.stages.0", GELAN)}
    rows |= {30 + 3 * i: (f"{name}.downs.{i}", AVERAGE_DOWN) for i in range(3)}
    return rows | {32 + 3 * i: (f"{name}.stages.{i + 1}", GELAN) for i in range(3)}


GYOLO = _layers(
    {
        **_gelan_backbone(1, "trunk.backbone"),
        10: ("trunk.pool.0", SPP_ELAN),
        11: ("trunk.pool.1", PARTIAL_ATTENTION),
        **_gelan_neck(12),
        **{24 + i: (f"trunk.auxiliary.links.c{3 + i}", {"conv": ("", None)}) for i in range(3)},
        **_second_backbone(),
        **_fine(39, "as2"),
        **_fine(43, "s2"),
        **_fine(47, "am2"),
        **_fine(51, "m2"),
        55: ("", FOUR_TASK_HEAD),
    }
)


def yolov7_af_pan(key: str) -> str | None:
    """Our name in ``yolov7-af-pan``."""
    return our_name(key, YOLOV7_AF_PAN)


def gelan_c_pan(key: str) -> str | None:
    """Our name in ``gelan-c-pan``."""
    return our_name(key, GELAN_C_PAN)


def gyolo(key: str) -> str | None:
    """Our name in ``gyolo``; the search's buffers of the caption part have none."""
    if key.startswith(CAPTION_LAYER):
        rest = caption_key(key.removeprefix(CAPTION_LAYER))
        return rest and f"heads.captioning.{rest}"
    return our_name(key, GYOLO)


CAPTION_LAYER = "model.56."
