"""Suppression of boxes inside an exported ONNX graph, for runtimes that have no decoder of ours.

The raw outputs stay: ``predict`` reads those, and decodes them as it does torch's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from yolor_mtl.inference.backends.onnx import OPSET
from yolor_mtl.inference.exported import VISION, Meta, Port
from yolor_mtl.ops.extras import need
from yolor_mtl.ops.files import write_atomic
from yolor_mtl.records import UserError
from yolor_mtl.tasks.base import DecodeOptions

PREFIX = "nms."
"""What the names of the added outputs begin with."""

OUTPUTS: Mapping[str, Port] = {
    "images": Port(["found"], "int64"),
    "boxes": Port(["found", 4], "float32"),
    "scores": Port(["found"], "float32"),
    "classes": Port(["found"], "int64"),
    "points": Port(["found"], "int64"),
}
"""The added outputs, a row a box: the row of the batch, ``xyxy`` in pixels of the frame, score, class, anchor point;
picture by picture, the best first."""

# The same steps as tasks/detection/decode.py: a point's best class counts alone. Rows are ordered by score - 2 * image,
# in double precision, where no batch is large enough to blur two scores.
_GRAPH = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
suppress (float[B,A,S] box_logits, float[B,A,C] class_logits, float[A,3] anchors, float[one,bins,ones,onea] steps)
  => (int64[found] images, float[found,4] boxes, float[found] scores, int64[found] classes, int64[found] points)
<
  int64[1] last = {{-1}}, int64[4] by_side = {{0, 0, 4, -1}}, int64[2] point_and_stride = {{2, 1}},
  int64[1] most = {{{most}}}, float[1] iou = {{{iou}}}, float[1] conf = {{{conf}}},
  float[2] off_and_on = {{0, 1}}, double two = {{2}}, int64 first = {{0}}, int64 second = {{1}}, int64 third = {{2}}
>
{{
  sides = Reshape (box_logits, by_side)
  chances = Softmax <axis = -1> (sides)
  distance = Reshape (steps, last)
  weighed = Mul (chances, distance)
  distances = ReduceSum <keepdims = 0> (weighed, last)
  low, high = Split <axis = -1, num_outputs = 2> (distances)
  centre, stride = Split <axis = -1> (anchors, point_and_stride)
  low_pixels = Mul (low, stride)
  high_pixels = Mul (high, stride)
  top_left = Sub (centre, low_pixels)
  bottom_right = Add (centre, high_pixels)
  corners = Concat <axis = -1> (top_left, bottom_right)

  every = Sigmoid (class_logits)
  best = ReduceMax <keepdims = 1> (every, last)
  leader = ArgMax <axis = -1, keepdims = 0> (every)
  number = Shape <start = 2, end = 3> (class_logits)
  led = OneHot <axis = -1> (leader, number, off_and_on)
  alone = Mul (led, best)
  by_class = Transpose <perm = [0, 2, 1]> (alone)
  kept = NonMaxSuppression (corners, by_class, most, iou, conf)

  kept_image = Gather <axis = 1> (kept, first)
  kept_class = Gather <axis = 1> (kept, second)
  kept_point = Gather <axis = 1> (kept, third)
  image_column = Unsqueeze (kept_image, last)
  point_column = Unsqueeze (kept_point, last)
  place = Concat <axis = -1> (image_column, point_column)
  only_best = Squeeze (best, last)
  kept_score = GatherND (only_best, place)
  kept_box = GatherND (corners, place)
  image_number = Cast <to = 11> (kept_image)
  score_number = Cast <to = 11> (kept_score)
  apart = Mul (image_number, two)
  rank = Sub (score_number, apart)
  rows = Shape (rank)
  ranked, order = TopK <axis = 0> (rank, rows)
  images = Gather (kept_image, order)
  boxes = Gather (kept_box, order)
  scores = Gather (kept_score, order)
  classes = Gather (kept_class, order)
  points = Gather (kept_point, order)
}}
"""


def add_nms(meta: Meta, folder: Path, options: DecodeOptions) -> Meta:
    """Adds :data:`OUTPUTS` to the vision graph, in place, and to ``meta.json``.

    ``max_det`` bounds the boxes of a class here, not those of a picture.

    Args:
        meta: the folder's; its format is ``onnx``.
        folder: where the graph is.
        options: the thresholds, which become part of the graph.

    Raises:
        UserError: the graph finds no boxes, or a package is not installed.
    """
    need("export", "onnx")
    import onnx
    from onnx import compose, parser

    vision = meta.graphs[VISION]
    branch = next((name.removesuffix(".box_logits") for name in vision.outputs if name.endswith(".box_logits")), None)
    if branch is None:
        raise UserError("nms=inside: there is no detection in this model; leave it out, or add detection to tasks=")
    path = folder / vision.file
    plain = onnx.load(str(path))
    text = _GRAPH.format(
        ir=plain.ir_version, opset=OPSET, most=options.max_det, iou=float(options.iou), conf=float(options.conf)
    )
    read = {
        f"{branch}.box_logits": "box_logits",
        f"{branch}.class_logits": "class_logits",
        f"{branch.partition('.')[0]}.anchors": "anchors",
        f"{branch}.steps": "steps",
    }
    suppress = compose.add_prefix(parser.parse_model(text), PREFIX)
    whole = compose.merge_models(plain, suppress, [(name, f"{PREFIX}{own}") for name, own in read.items()])
    added = list(whole.graph.output)[-len(OUTPUTS) :]
    del whole.graph.output[:]  # what the second graph reads is no output any more: all of them again, in their order
    whole.graph.output.extend([*plain.graph.output, *added])
    onnx.checker.check_model(whole)
    write_atomic(path, lambda temporary: onnx.save(whole, str(temporary)))
    outputs = {**vision.outputs, **{f"{PREFIX}{name}": port for name, port in OUTPUTS.items()}}
    notes = {**meta.notes, "nms": {name: asdict(options)[name] for name in ("conf", "iou", "max_det")}}
    more = replace(meta, graphs={**meta.graphs, VISION: replace(vision, outputs=outputs)}, notes=notes)
    more.write(folder)
    return more
