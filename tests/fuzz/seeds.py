"""Where fuzzing begins: one whole input of each kind, made by the code that writes such files."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import coco_builder as coco
import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from yolor_mtl.models.weights import save_weights
from yolor_mtl.records import Category, LabelSpace
from yolor_mtl.tasks.captioning.tokenizer import CaptionTokenizer


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Inputs by target; ``folder`` is for files on the way."""
    mask = np.zeros((30, 40), np.uint8, order="F")
    mask[5:20, 5:30] = 1
    encoded = coco_mask.encode(mask)
    rle = {"size": [30, 40], "counts": encoded["counts"].decode()}
    things = [coco.thing(1, 1), coco.thing(2, 1, segmentation=rle, iscrowd=1), coco.thing(3, 2, segmentation=[])]
    images = [coco.image(1), coco.image(2)]
    segments = [{"id": 7, "category_id": 1, "area": 9, "bbox": [0, 0, 3, 3], "iscrowd": 0}]
    panoptic = {
        "images": images,
        "annotations": [{"image_id": 1, "file_name": "000001.png", "segments_info": segments}],
        "categories": [{"id": 1, "name": "cat", "isthing": 1}],
    }
    words = CaptionTokenizer.train(["a dog runs on the grass", "a cat"] * 2, 80).to_json()
    space = LabelSpace((Category(1, "dog"),), (Category(1, "dog"),), "panoptic-1", words)
    save_weights(folder / "a.safetensors", {"a": torch.ones(2, 3)}, {"label_space": space.to_json(), "config": "{}"})
    torch.save({"model": {"a": torch.ones(2)}, "epoch": 3}, folder / "a.pt")
    count = {"current": {"ready": 1, "started": 1, "processed": 1, "completed": 1}}
    loop = {"epoch_progress": count, "epoch_loop.batch_progress": count}
    torch.save({"loops": {"fit_loop": loop}, "state_dict": {"a": torch.ones(2)}}, folder / "a.ckpt")
    checkpoint, state = (_pickled(folder / name) for name in ("a.pt", "a.ckpt"))
    return {
        "instances": [_json(coco.instances(images, things))],
        "captions": [_json({"images": images, "annotations": [coco.caption(1, "A cat.")]})],
        "panoptic": [_json(panoptic)],
        "rle": [bytes([29, 39]) + encoded["counts"]],
        "polygons": [struct.pack("<12f", *range(12))],
        "text_labels": [b"0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.4 0.1 0.4 0.4\n"],
        "pickles": [checkpoint, pickle.dumps({"a": [1, 2.5, "b", None, (True,)]}, 2)],
        "checkpoints": [(folder / "a.pt").read_bytes()],
        "weights": [(folder / "a.safetensors").read_bytes()],
        "vocabularies": [
            words.encode(),
            CaptionTokenizer.from_words(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dog"]).to_json().encode(),
        ],
        "words": [b"epochs=3\nlr=0.01\n--batch\n4\naugment.mosaic=0.5\ntrain=[a,b]"],
        "configs": [b"epochs: 3\naugment:\n  mosaic: 0.5\ntrain: [a, b]\nlr: 1e-3\nnetwork: {trunk: {width: 0.5}}\n"],
        "data_files": [
            b"path: .\ntrain: images\nval: [images]\nnc: 2\nnames: [cat, dog]\n",
            b"names: {0: a}\ntest: images",
        ],
        "label_maps": [_map(mode) for mode in ("RGB", "RGBA", "L", "P")],
        "states": [(folder / "a.ckpt").read_bytes(), state],
        "queries": [b"conf=0.5&iou=0.6&max_det=10&beam=3&attention=true", b"conf=1e-3&conf=%30"],
        "pictures": [_picture(form) for form in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")],
        "forms": [_form()],
    }


def _pickled(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


def _picture(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((12, 9), 80).convert("RGB").save(buffer, form)
    return buffer.getvalue()


def _map(mode: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 9), (7, 1, 0)).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def _form() -> bytes:
    """Another field, then the file."""
    fields = [(b'name="note"', b"a"), (b'name="file"; filename="a.jpg"', _picture("JPEG"))]
    parts = [b"--x\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + body + b"\r\n" for head, body in fields]
    return b"multipart/form-data; boundary=x\n" + b"".join(parts) + b"--x--\r\n"
