"""The released caption part: our head with the parity weights against its formulas written out and the release.

The formulas are those of section 4 of ``shared/upstream/SPEC.md``, in loops over words and heads, without a cache, on
the released tensors under their own names.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from yolor_mtl.build import build_model, model_config
from yolor_mtl.models.fuse import fuse
from yolor_mtl.models.network import Network
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import Category, LabelSpace, Outputs
from yolor_mtl.tasks.captioning.generate import Search, generate
from yolor_mtl.tasks.captioning.region_head import RegionCaptionHead
from yolor_mtl.tasks.captioning.tokenizer import LIST_SPECIALS, CaptionTokenizer
from yolor_mtl.upstream.caption_keys import CAPTION_DROPPED, caption_key
from yolor_mtl.upstream.keys import gyolo

LAYER = "model.56."
WORDS, CLASSES, SIDE = 10202, 173, (4, 5)
INFOS = {
    "p3": FeatureInfo(256, 8),
    "p4": FeatureInfo(512, 16),
    "p5": FeatureInfo(512, 32),
    "c5": FeatureInfo(512, 32),
    "u2": FeatureInfo(256, 4),
}
RELEASED = Search(length_penalty=0.0, any_token=True, after_end=-999.0)

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def upstream(shared: Path) -> Path:
    folder = shared / "upstream"
    if not (folder / "gyolo.keys.json").is_file():
        pytest.skip(f"{folder} is absent: the keys and the weights of the parity checks live there")
    return folder


@pytest.fixture(scope="module")
def fill(upstream: Path) -> Callable[..., np.ndarray]:
    """The parity data's own maker of weights."""
    spec = importlib.util.spec_from_file_location("parity_fill", upstream / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fill  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def weights(fill: Callable[..., np.ndarray], upstream: Path) -> Weights:
    """Layer 56 by its own keys, filled as the parity data says."""
    entries = json.loads((upstream / "gyolo.keys.json").read_text())
    return {
        key.removeprefix(LAYER): torch.from_numpy(np.asarray(fill(key, shape)))
        for key, shape, _ in entries
        if key.startswith(LAYER)
    }


@pytest.fixture(scope="module")
def head(weights: Weights) -> RegionCaptionHead:
    head = RegionCaptionHead(INFOS, WORDS, levels=("p3", "p4", "p5"), grid="c5", classes="u2")
    head.load_state_dict({name: value for key, value in weights.items() if (name := caption_key(key)) is not None})
    return head.eval()


def _inputs(seed: int = 0, rows: int = 1) -> tuple[dict[str, Tensor], dict[str, Outputs]]:
    """Features and what the other heads say of pictures of 128 x 160 pixels."""
    draw = torch.Generator().manual_seed(seed)
    features = {
        name: torch.randn(rows, info.channels, SIDE[0] * 32 // info.stride, SIDE[1] * 32 // info.stride, generator=draw)
        for name, info in INFOS.items()
    }
    read = {
        "detection": {"main.class_logits": torch.randn(rows, 420, 80, generator=draw)},
        "semantic": {"logits": torch.randn(rows, CLASSES, 32, 40, generator=draw)},
    }
    return features, read


# The formulas.


def _linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def _block(w: Weights, name: str, x: Tensor) -> Tensor:
    """1x1 convolution, batch norm, SiLU of cells (N, C)."""
    x = x @ w[f"{name}.conv.weight"][:, :, 0, 0].T
    x = (x - w[f"{name}.bn.running_mean"]) / (w[f"{name}.bn.running_var"] + 1e-3).sqrt()
    x = x * w[f"{name}.bn.weight"] + w[f"{name}.bn.bias"]
    return x * torch.sigmoid(x)


def _blocks(w: Weights, name: str, x: Tensor) -> Tensor:
    return _block(w, f"{name}.1", _block(w, f"{name}.0", x))


def _attend(w: Weights, name: str, x: Tensor, memory: Tensor, seen: list[list[int]] | None = None) -> Tensor:
    """(T, 256) over memory (S, 256), query by query and head by head; ``seen`` lists the keys of each query."""
    query, key, value = (
        _linear(w, f"{name}.attention.fc_{letter}", inner) for letter, inner in (("q", x), ("k", memory), ("v", memory))
    )
    mixed = torch.zeros_like(x)
    for place in range(len(x)):
        keys = list(range(len(memory))) if seen is None else seen[place]
        for part in range(8):
            channels = slice(32 * part, 32 * part + 32)
            scores = key[keys][:, channels] @ query[place, channels] / math.sqrt(32)
            mixed[place, channels] = scores.softmax(0) @ value[keys][:, channels]
    return _layer_norm(w, f"{name}.layer_norm", x + _linear(w, f"{name}.attention.fc_o", mixed))


def _feed(w: Weights, name: str, x: Tensor) -> Tensor:
    inner = _linear(w, f"{name}.fc2", F.relu(_linear(w, f"{name}.fc1", x)))
    return _layer_norm(w, f"{name}.layer_norm", x + inner)


def _memories(w: Weights, features: dict[str, Tensor], read: dict[str, Outputs], row: int) -> tuple[Tensor, Tensor]:
    """Grid memory (20, 256) and region memory (473, 256) of one picture."""
    cells = {name: x[row].flatten(1).T for name, x in features.items()}
    net = "grit_transformer.grid_net"
    grid = _layer_norm(w, f"{net}.layer_norm", F.relu(_linear(w, f"{net}.fc", _blocks(w, "cv4", cells["c5"]))))
    grid = _attend(w, f"{net}.layers.0.mhatt", grid, grid)
    grid = _feed(w, f"{net}.layers.0.pwff", grid)
    points = torch.cat([_blocks(w, f"cv3.{level}", cells[f"p{level + 3}"]) for level in range(3)])
    scores = read["detection"]["main.class_logits"][row].max(1).values
    best = sorted(range(len(points)), key=lambda point: -float(scores[point]))[:300]
    maps = _blocks(w, "cv5", cells["u2"])
    places = [int(read["semantic"]["logits"][row, number].flatten().argmax()) for number in range(CLASSES)]
    return grid, torch.cat((points[best], maps[places]))


def _log_probabilities(w: Weights, tokens: list[int], grid: Tensor, regions: Tensor) -> Tensor:
    """(T, 10202) of the token after each."""
    net = "grit_transformer.cap_generator"
    layer = f"{net}.layers.0"
    places = [0 if token == 0 else place + 1 for place, token in enumerate(tokens)]
    x = w[f"{net}.word_emb.weight"][tokens] + w[f"{net}.pos_emb.weight"][places]
    m = torch.tensor([[float(token != 0)] for token in tokens])
    seen = [[key for key in range(place + 1) if tokens[key] != 0] for place in range(len(tokens))]
    a = _attend(w, f"{layer}.self_att", x, x, seen) * m
    e1 = _attend(w, f"{layer}.vis_att1", a, grid) * m
    e2 = _attend(w, f"{layer}.vis_att2", a, regions) * m
    g1, g2 = (torch.sigmoid(_linear(w, f"{layer}.fc_alpha1", torch.cat((a, e), 1))) for e in (e1, e2))
    f = (e1 * g1 + e2 * g2) / math.sqrt(2) * m
    out = _feed(w, f"{layer}.pwff", f) * m
    return (out @ w[f"{net}.fc.weight"].T).log_softmax(-1)


def _beam_search(w: Weights, grid: Tensor, regions: Tensor, end: int = 3) -> tuple[list[int], list[float]]:
    """Tokens and log-probabilities of the best of five beams after twenty steps."""
    beams: list[tuple[list[int], list[float], float, bool]] = [([], [], 0.0, False)]
    for _ in range(20):
        candidates = []
        for number, (tokens, _, score, done) in enumerate(beams):
            if done:
                worth = torch.full((WORDS,), -999.0)
                worth[0], chances = score, torch.zeros(WORDS)
            else:
                chances = _log_probabilities(w, [2, *tokens], grid, regions)[-1]
                worth = score + chances
            best = worth.topk(5)
            candidates += [
                (value, number, token, float(chances[token]))
                for value, token in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            ]
        kept = sorted(candidates, key=lambda candidate: -candidate[0])[:5]
        beams = [
            ([*beams[number][0], token], [*beams[number][1], chance], value, beams[number][3] or token == end)
            for value, number, token, chance in kept
        ]
    return max(beams, key=lambda beam: beam[2])[:2]


# The checks.


def test_every_key_has_its_place(weights: Weights, head: RegionCaptionHead) -> None:
    found = {key: caption_key(key) for key in weights}
    assert {key for key, name in found.items() if name is None} == set(CAPTION_DROPPED)
    names = [name for name in found.values() if name is not None]
    own = head.state_dict()
    assert sorted(names) == sorted(own)
    assert all(weights[key].shape == own[name].shape for key, name in found.items() if name is not None)


def test_number_of_parameters(head: RegionCaptionHead) -> None:
    assert sum(parameter.numel() for parameter in head.parameters()) == 8_418_304


@torch.inference_mode()
def test_memories(weights: Weights, head: RegionCaptionHead) -> None:
    features, read = _inputs(rows=2)
    out = head(features, read)
    for row in range(2):
        grid, regions = _memories(weights, features, read, row)
        torch.testing.assert_close(out["grid_memory"][row], grid, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(out["region_memory"][row], regions, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("tokens", [[2, 5, 17, 230, 5, 48, 3], [2, 5, 17, 1, 3, 0, 0], [2, 5, 0, 17, 0, 0, 6]])
def test_teacher_forcing_and_steps(weights: Weights, head: RegionCaptionHead, tokens: list[int]) -> None:
    features, read = _inputs(1)
    out = head(features, read, {"tokens": torch.tensor([[*tokens, 0]]), "image": torch.tensor([0])})
    wanted = _log_probabilities(weights, tokens, *_memories(weights, features, read, 0))
    found = out["logits"][0].float().log_softmax(-1)
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-4)
    silent = [place for place, token in enumerate(tokens) if token == 0]
    torch.testing.assert_close(found[silent], torch.full((len(silent), WORDS), -math.log(WORDS)))
    cache = head.start(out)
    for place, token in enumerate(tokens):
        logits, cache, attention = head.step(torch.tensor([token]), cache)
        torch.testing.assert_close(logits.log_softmax(-1)[0], wanted[place], atol=1e-3, rtol=1e-4)
        assert attention.shape == (1, SIDE[0] * SIDE[1])
        torch.testing.assert_close(attention.sum(1), torch.ones(1))


def _with_ends(weights: Weights) -> tuple[Weights, RegionCaptionHead]:
    """The same with a likelier end: its output a share of the one that the decoder likes best after two tokens."""
    features, read = _inputs(2)
    grid, regions = _memories(weights, features, read, 0)
    best = int(_log_probabilities(weights, [2, 5], grid, regions)[-1].argmax())
    name = "grit_transformer.cap_generator.fc.weight"
    changed = {**weights, name: weights[name].clone()}
    changed[name][3] = 0.97 * weights[name][best]
    other = RegionCaptionHead(INFOS, WORDS, levels=("p3", "p4", "p5"), grid="c5", classes="u2")
    other.load_state_dict({own: value for key, value in changed.items() if (own := caption_key(key)) is not None})
    return changed, other.eval()


@torch.inference_mode()
@pytest.mark.parametrize("ends", [False, True])
def test_beam_search(weights: Weights, head: RegionCaptionHead, ends: bool) -> None:
    """Padding that a beam emits by itself is not here: after it all words are equally likely, and ties are open."""
    if ends:
        weights, head = _with_ends(weights)
    features, read = _inputs(2)
    memory = head(features, read)
    found = generate(head, memory, words=WORDS, beam=5, max_tokens=20, search=RELEASED)
    tokens, chances = _beam_search(weights, *_memories(weights, features, read, 0))
    assert (3 in tokens) == ends
    assert found.emitted[0].tolist() == tokens
    assert found.log_probabilities[0].tolist() == pytest.approx(chances, abs=2e-3)


# The release.


@pytest.fixture(scope="module")
def network(fill: Callable[..., np.ndarray], upstream: Path) -> Network:
    """The whole network, filled as the parity data says."""
    words = CaptionTokenizer.from_words([*LIST_SPECIALS, *(f"word{n}" for n in range(len(LIST_SPECIALS), WORDS))])
    things = tuple(Category(n, f"thing {n}") for n in range(80))
    stuff = tuple(Category(n, f"stuff {n}", isthing=False) for n in range(80, CLASSES))
    network = build_model(model_config("gyolo"), LabelSpace(things, things + stuff, "all", words.to_json())).network
    state = network.state_dict()
    for key, shape, _ in json.loads((upstream / "gyolo.keys.json").read_text()):
        name = gyolo(key)
        # Of the kernels that hold distances only this one was left as it is.
        if name is not None and not key.endswith(".dfl.conv.weight"):
            state[name] = torch.from_numpy(np.asarray(fill(key, shape))).reshape(state[name].shape)
    network.load_state_dict(state)
    return network.eval()


@pytest.fixture(scope="module")
def release(upstream: Path) -> dict[str, Tensor]:
    with np.load(upstream / "gyolo.npz") as arrays:
        return {name: torch.from_numpy(value) for name, value in arrays.items()}


def _picture() -> Tensor:
    return torch.from_numpy(np.random.RandomState(0).rand(1, 3, 128, 160).astype(np.float32))


@torch.inference_mode()
def test_released_log_probabilities(network: Network, release: dict[str, Tensor]) -> None:
    tokens = F.pad(release["caption_tokens"], (0, 1))
    inputs = {"captioning": {"tokens": tokens, "image": torch.tensor([0])}}
    out = network(_picture(), ["captioning"], inputs=inputs)["captioning"]
    # What the specification gives for debugging: mean absolute values of the two memories.
    assert out["grid_memory"].abs().mean().item() == pytest.approx(0.603975, rel=1e-4)
    assert out["region_memory"][:, :300].abs().mean().item() == pytest.approx(0.061723, rel=1e-4)
    assert out["region_memory"][:, 300:].abs().mean().item() == pytest.approx(0.066499, rel=1e-4)
    found = out["logits"].float().log_softmax(-1)
    torch.testing.assert_close(found, release["caption_logprobs"], atol=2e-4, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("fused", [False, True])
def test_released_beam_search(network: Network, release: dict[str, Tensor], fused: bool) -> None:
    network = network if not fused else fuse(deepcopy(network))  # type: ignore[assignment]
    head = network.heads["captioning"]
    assert isinstance(head, RegionCaptionHead)
    out = network(_picture(), ["captioning"])["captioning"]
    found = generate(head, out, words=WORDS, beam=5, max_tokens=20, search=RELEASED)
    assert torch.equal(found.emitted, release["beam_tokens"])
    torch.testing.assert_close(found.log_probabilities, release["beam_logprobs"], atol=5e-4, rtol=1e-4)


@torch.inference_mode()
def test_padding_between_released_tokens(network: Network) -> None:
    """What the specification tells of the release: rows after padding tokens are uniform."""
    tokens = torch.tensor([[2, 5, 17, 1, 3, 0, 0, 0]])
    out = network(_picture(), ["captioning"], inputs={"captioning": {"tokens": tokens, "image": torch.tensor([0])}})
    found = out["captioning"]["logits"].log_softmax(-1)[0]
    torch.testing.assert_close(found[5:], torch.full((2, WORDS), -9.230339))
