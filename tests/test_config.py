"""Configuration: what is refused names the key, and what people write arrives as they meant it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from yolor_mtl.config import fill, nearest, packaged, parse_assignments, read_yaml, split_names, to_yaml
from yolor_mtl.records import UserError


@dataclass
class _Inner:
    rate: float = 0.1
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    weights: dict[str, float] = field(default_factory=lambda: {"a": 1.0})


@dataclass
class _Train:
    epochs: int = 3
    path: str = ""
    cache: bool = False
    limit: int | None = None
    names: list[str] = field(default_factory=list)
    inner: _Inner = field(default_factory=_Inner)


def test_layers_overlay_defaults_in_order() -> None:
    found = fill(_Train, {"epochs": 5, "inner": {"rate": 1}}, {"epochs": 7, "inner": {"weights": {"b": 2}}})
    assert found == _Train(epochs=7, inner=_Inner(rate=1.0, weights={"a": 1.0, "b": 2.0}))
    assert isinstance(found.inner, _Inner)
    assert fill(_Train) == _Train()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"epohcs": 1}, r"unknown key 'train\.epohcs' \(did you mean 'epochs'\?\); known: cache, epochs"),
        ({"inner": {"rat": 1}}, r"'train\.inner\.rat' \(did you mean 'rate'\?\)"),
        ({"zzzzzz": 1}, r"unknown key 'train\.zzzzzz'; known"),
        ({1: 2}, r"unknown key 'train\.1'"),
        ({"epochs": "many"}, r"train\.epochs: .*'many'"),
        ({"epochs": 1.5}, r"train\.epochs: "),
        ({"epochs": None}, r"train\.epochs: "),
        ({"inner": {"rate": "fast"}}, r"train\.inner\.rate: .*'fast'"),
        ({"inner": {"sizes": ["a"]}}, r"train\.inner\.sizes\[0\]: .*'a'"),
        ({"inner": {"sizes": 3}}, r"train\.inner\.sizes: "),
        ({"inner": {"weights": {"b": "x"}}}, r"train\.inner\.weights\.b: "),
        ({"inner": 3}, r"train\.inner holds keys of its own, not 3"),
        ({"inner": None}, r"train\.inner holds keys of its own"),
        ({"cache": "maybe"}, r"train\.cache: .*'maybe'"),
        ({"path": "${oc.env:HOME}"}, r"train\.path=.*is not understood here"),
        ({"inner": {"weights": {"b": "${epochs}"}}}, r"train\.inner\.weights\.b=.*is not understood here"),
        ({"names": ["a", "${oc.env:HOME}"]}, r"train\.names=.*is not understood here"),
    ],
)
def test_refused(layer: dict[Any, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fill(_Train, layer, where="train")


def test_without_a_place() -> None:
    with pytest.raises(UserError, match=r"^unknown key 'epohcs' \(did you mean 'epochs'"):
        fill(_Train, {"epohcs": 1})
    with pytest.raises(UserError, match=r"^epochs: "):
        fill(_Train, {"epochs": "x"})


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["a=1", "b.c=x", "--d", "2"], {"a": 1, "b": {"c": "x"}, "d": 2}),
        (["--a=1", "--flag", "--b", "-2"], {"a": 1, "flag": True, "b": -2}),
        (["a=1e-3", "b=-.5", "c=2.", "d=+3"], {"a": 0.001, "b": -0.5, "c": 2.0, "d": 3}),
        (["a=true", "b=False", "c=null"], {"a": True, "b": False, "c": None}),
        (
            ["a=[1,2,x]", "b=[]", "c={k: 1}", "d=[detection, semantic]"],
            {"a": [1, 2, "x"], "b": [], "c": {"k": 1}, "d": ["detection", "semantic"]},
        ),
        (["p=/my data/a: b=c.yaml", r"w=C:\x y\z"], {"p": "/my data/a: b=c.yaml", "w": r"C:\x y\z"}),
        (["--p", "/my data/a=b"], {"p": "/my data/a=b"}),
        (["p=", "--q", ""], {"p": "", "q": ""}),
        (["p='1'", 'q="a b"'], {"p": "1", "q": "a b"}),
        (
            ["p=007", "t=12:30", "n=no", "u=1_000", "d=2017-01-01"],
            {"p": "007", "t": "12:30", "n": "no", "u": "1_000", "d": "2017-01-01"},
        ),
        (
            ["p=*.jpg", "q=@x", "r=a #b", "s=- a", "t=%x", "u=&a b", "v=!x", "w=${x}"],
            {"p": "*.jpg", "q": "@x", "r": "a #b", "s": "- a", "t": "%x", "u": "&a b", "v": "!x", "w": "${x}"},
        ),
        (["a=1", "a.b=2"], {"a": {"b": 2}}),
        (["a.b=2", "a=1", "a=3"], {"a": 3}),
        ([], {}),
    ],
)
def test_words(words: list[str], wanted: dict[str, Any]) -> None:
    assert parse_assignments(words) == wanted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["epochs"], "'epochs'; write key=value"),
        (["=1"], "'=1'"),
        (["a..b=1"], "write key=value"),
        (["--"], "write key=value"),
        (["a=[1"], r"cannot read a=\[1"),
        (["a='x"], "in quotes"),
    ],
)
def test_words_refused(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_assignments(words)


@given(st.text().filter(lambda text: not text.startswith(("[", "{", "'", '"'))))
def test_text_fields_get_what_was_written(text: str) -> None:
    value = parse_assignments([f"path={text}"])["path"]
    assert value == text or (value is None and text.lower() == "null") or str(value).lower() != "nan"
    if isinstance(value, str):
        assert value == text


def test_words_fill_a_schema() -> None:
    words = [
        "epochs=5",
        "path=/a b/c=1",
        "cache=yes",
        "limit=null",
        "names=[1,no]",
        "inner.sizes=[3]",
        "--inner.rate",
        "2",
    ]
    found = fill(_Train, {"limit": 9}, parse_assignments(words))
    assert found == _Train(5, "/a b/c=1", True, None, ["1", "False"], _Inner(2.0, [3]))


def test_yaml_round_trip(tmp_path: Path) -> None:
    config = _Train(epochs=9, path="a: b #c", inner=_Inner(sizes=[]))
    file = tmp_path / "my file.yaml"
    file.write_text(to_yaml(config), encoding="utf-8")
    assert fill(_Train, read_yaml(file)) == config
    assert packaged("models", str(file)) == yaml.safe_load(to_yaml(config))


BOMB = "a0: &a0 [1, 2]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
"""Twelve lines that say 2 * 9^11 values."""

MERGED = "a0: &a0 {b: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))
"""The same by merging keys, which copies them while the text is read."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "holds a list"),
        ("a: [", "is not YAML"),
        (b"\xff\xfe\xfa", "cannot read"),
        (BOMB, "more than 1000000 values"),
        ("a: &a [*a]", "values inside values without end"),
        ("a: " + "[" * 1000, "values inside values without end"),
        ("a: " + "[" * 120 + "]" * 120, "values inside values without end"),
        (MERGED, "more than 1000000 values"),
        ("a: &a !!pairs [b: *a]", "values inside values without end"),
        ("a: !!bool x", "is not YAML: a value is not what its tag says"),
        ('a: !!int ""', "is not YAML"),
        ("a: !!timestamp x", "is not YAML"),
        ("a: 2024-13-45", "is not YAML: month must be"),
        (f"a: {'9' * 5000}", "is not YAML"),
        (r'a: "b\0c"', "a text with a NUL"),
        (r'a: ["\ud800"]', "is not YAML: .*surrogates not allowed"),
    ],
)
def test_yaml_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as caught:
        read_yaml(file)
    assert str(file) in str(caught.value)


def test_yaml_missing_and_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "empty.yaml") == {}


def test_nearest() -> None:
    assert nearest("epohcs", ["epochs", "path"]) == " (did you mean 'epochs'?)"
    assert nearest("qqqq", ["epochs"]) == ""


def test_split_names() -> None:
    assert split_names("train") == ["train"]
    assert split_names(["a", "b"]) == split_names(("a", "b")) == ["a", "b"]
    assert split_names(2017) == ["2017"]


def test_a_word_is_a_list_of_one() -> None:
    assert fill(_Train, parse_assignments(["names=cat"])).names == ["cat"]
    assert fill(_Train, {"names": ["cat", "dog"]}).names == ["cat", "dog"]
    assert fill(_Train, {"path": "cat"}).path == "cat"
    with pytest.raises(UserError, match=r"inner\.sizes"):
        fill(_Train, {"inner": {"sizes": "cat"}})
