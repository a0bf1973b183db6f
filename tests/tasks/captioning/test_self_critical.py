"""Captions that score well become likelier; drawn, scored and weighted as the paper says."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import runs
import tiny
import torch
from rich.console import Console
from torch.nn import functional as F

from yolor_mtl.records import UserError
from yolor_mtl.tasks.captioning.generate import sample
from yolor_mtl.tasks.captioning.ptb import ptb_words
from yolor_mtl.tasks.captioning.scores import Rarity, cider_d_each
from yolor_mtl.tasks.captioning.self_critical import SelfCriticalLoss
from yolor_mtl.tasks.captioning.tokenizer import END, PAD, START
from yolor_mtl.training.config import train_config
from yolor_mtl.training.history import read_rows
from yolor_mtl.training.trainer import train


class Unigrams(torch.nn.Module):
    """Says the same of every place: a table of word logits, one row a picture, which is its memory."""

    memories = ("memory",)

    def start(self, memory):
        return {"memory": memory["memory"][None]}

    def step(self, tokens, cache):
        return cache["memory"][0], cache, torch.zeros(len(tokens), 1)

    def say(self, memory, inputs):
        rows = memory["memory"][inputs["image"]]
        return rows[:, None].expand(-1, inputs["tokens"].shape[1] - 1, -1)


@pytest.fixture
def references() -> dict[str, torch.Tensor]:
    return {"references": tiny.tokenizer().encode_batch(tiny.CAPTIONS, 12), "image": torch.tensor([0, 0, 1])}


def test_drawn_with_the_writers_probabilities() -> None:
    logits = torch.full((1, 8), -torch.inf)
    logits[0, [END, 5, 6]] = torch.tensor([0.2, 0.5, 0.3]).log()
    drawn = sample(Unigrams(), {"memory": logits}, words=8, count=4000, max_tokens=3)
    first, second = Counter(drawn[:, 0].tolist()), Counter(drawn[:, 1].tolist())
    assert first[5] / 4000 == pytest.approx(0.5 / 0.8, abs=0.03)  # the end may not come first
    assert first.keys() == {5, 6}
    assert second[END] / 4000 == pytest.approx(0.2, abs=0.03)
    assert set(drawn[drawn[:, 1] == END][:, 2].tolist()) == {PAD}


def test_no_token_without_a_word_and_none_beyond_the_vocabulary() -> None:
    drawn = sample(Unigrams(), {"memory": torch.zeros(2, 12)}, words=8, count=500, max_tokens=2)
    assert drawn.shape == (1000, 2)
    assert set(drawn[:, 0].tolist()) == {4, 5, 6, 7}


def test_value_and_gradient_by_hand(references: dict[str, torch.Tensor]) -> None:
    tokenizer, samples = tiny.tokenizer(), 3
    memory = torch.randn(2, tokenizer.size, requires_grad=True)
    loss = SelfCriticalLoss(Unigrams(), tokenizer, samples, 6)
    loss.study([tiny.CAPTIONS[:2], tiny.CAPTIONS[2:], ("a dog",)])
    torch.manual_seed(3)
    found = loss({"memory": memory}, references, {})
    torch.manual_seed(3)
    memories = {"memory": memory.detach()}
    drawn = sample(Unigrams(), memories, words=tokenizer.size, count=samples, max_tokens=6)
    groups = [[[*ptb_words(text), "\n"] for text in texts] for texts in (tiny.CAPTIONS[:2], tiny.CAPTIONS[2:])]
    rarity = Rarity.of([*groups, [["a", "dog", "\n"]]])
    wanted = torch.zeros(())
    count = 0
    for picture in range(2):
        mine = drawn[picture * samples : (picture + 1) * samples].tolist()
        said = [
            ptb_words(tokenizer.decode(n for n in ids if n not in (PAD, END))) + ["\n"] * (END in ids) for ids in mine
        ]
        rewards = cider_d_each(said, [groups[picture]] * samples, rarity=rarity)
        for place, ids in enumerate(mine):
            rest = [reward for other, reward in enumerate(rewards) if other != place]
            words = [number for number in ids if number != PAD]
            chance = sum(memory[picture].log_softmax(-1)[number] for number in words)
            wanted = wanted - (rewards[place] - sum(rest) / len(rest)) * chance
            count += len(words)
    value, number = found.terms["reward"]
    assert number.item() == count
    assert value.item() == pytest.approx(wanted.item(), rel=1e-4)
    (one,), (other,) = torch.autograd.grad(value, [memory]), torch.autograd.grad(wanted, [memory])
    assert torch.allclose(one, other, atol=1e-5)


def test_it_learns_to_write_what_scores(references: dict[str, torch.Tensor]) -> None:
    memory = torch.zeros(2, tiny.tokenizer().size, requires_grad=True)
    loss = SelfCriticalLoss(Unigrams(), tiny.tokenizer(), 8, 6)
    loss.study([tiny.CAPTIONS[:2], tiny.CAPTIONS[2:]])
    optimizer = torch.optim.Adam([memory], lr=0.1)
    means = []
    for _ in range(60):
        found = loss({"memory": memory}, references, {})
        value, count = found.terms["reward"]
        optimizer.zero_grad()
        (value / count).backward()
        optimizer.step()
        means.append(float(found.shared["rewards"].mean()))
    assert sum(means[-10:]) > 3 * sum(means[:10])


def test_document_frequencies_of_the_whole_training() -> None:
    rare = Rarity.of([[["a", "dog"]], [["a", "cat"]], [["a", "dog"], ["the", "dog"]]])
    assert rare.unseen == pytest.approx(math.log(3))
    assert rare.weights == {
        ("a",): 0.0,
        ("dog",): pytest.approx(math.log(1.5)),
        ("a", "dog"): pytest.approx(math.log(1.5)),
    }


@pytest.mark.parametrize("head", [{}, {"objects": {"count": 5}}])
def test_real_heads_judge_captions_as_under_teacher_forcing(head: dict[str, object]) -> None:
    tasks, network = tiny.build({**tiny.BLOCKS, "captioning": head})
    inputs = tiny.targets()["captioning"]
    network.eval()
    out = network(tiny.images(2), ["captioning"], inputs={"captioning": inputs})["captioning"]
    speaker = network.heads["captioning"]
    again = speaker.say({name: out[name] for name in speaker.memories}, inputs)
    assert torch.allclose(out["logits"], again, atol=1e-5)
    drawn = torch.tensor([[START, 5, 6, END], [START, 7, END, PAD]])
    with torch.no_grad():
        logits = speaker.say(out, {"tokens": drawn, "image": torch.tensor([0, 1])})
    assert torch.isfinite(F.cross_entropy(logits.flatten(0, 1), drawn[:, 1:].flatten(), ignore_index=PAD))
    assert len(tasks) == 5


def test_a_second_stage(trained: Path, scenes: Path, tmp_path: Path) -> None:
    weights = str(trained / "best.safetensors")
    frozen = ["trunk", "detection", "instance", "semantic"]
    keys = {"data": str(scenes), "out": str(tmp_path / "run"), "weights": weights, "freeze": frozen}
    parts = {**runs.PARTS, "captioning": {**runs.PARTS["captioning"], "reward": "cider"}}
    config = train_config({**runs.KEYS, **keys, "epochs": 1}, parts)
    run = train(config, scenes, Console(quiet=True)).out
    row = read_rows(run / "metrics.csv")[-1]
    assert {name for name in row if name.startswith("loss/")} == {"loss/captioning/reward"}
    assert "caption/CIDEr" in row


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"reward": "cidr"}, r"unknown captioning.reward='cidr' \(did you mean 'cider'\?\)"),
        ({"reward": "cider", "samples": 1}, "captioning.samples=1; 2 is the least"),
    ],
)
def test_refused(changes: dict[str, object], part: str) -> None:
    with pytest.raises(UserError, match=part):
        tiny.build({**tiny.BLOCKS, "captioning": changes})
