"""Captions: five true sentences about a scene, from a small grammar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from yolor_mtl.data.scenes.facts import Group, backdrop, find_groups, relation
from yolor_mtl.data.scenes.painting import Scene
from yolor_mtl.data.scenes.palette import pick
from yolor_mtl.data.scenes.settings import SKY, TABLE
from yolor_mtl.data.scenes.stuff import STUFF_IDS

CAPTIONS = 5
COUNTS = ("", "", "two", "three", "four", "five", "six", "seven", "eight")
FLOCKS = MappingProxyType({"person": "a group of", "cow": "a herd of", "sheep": "a flock of", "bird": "a flock of"})
STANDING = frozenset({"person", "dog", "horse", "cow", "sheep"})
PLACES = MappingProxyType(
    {
        "grass-merged": ("on the grass",),
        "playingfield": ("on the field",),
        "road": ("on the road", "on a road"),
        "pavement-merged": ("on the sidewalk",),
        "platform": ("on the platform",),
        "railroad": ("on the tracks", "on the rails"),
        "sand": ("on the sand",),
        "snow": ("in the snow",),
        "dirt-merged": ("on a dirt path",),
        "gravel": ("on a gravel path",),
        "sea": ("on the sea", "on the water"),
        "river": ("on the water",),
        "sky-other-merged": ("in the sky", "in the air"),
        "wall": ("on the wall",),
        "table-merged": ("on a table", "on the table"),
        "floor-wood": ("on a wooden floor", "on the floor"),
        "floor-other-merged": ("on the floor",),
        "rug-merged": ("on a rug",),
    }
)
LOCAL_PLACES = MappingProxyType(
    {
        ("harbor", "pavement-merged"): ("on the quay",),
        ("park", "pavement-merged"): ("on a path",),
        ("airport", "road"): ("on the runway",),
        ("lake", "river"): ("on the water", "on the lake"),
    }
)
"""Surfaces that have a name of their own in one setting."""


SMALL_WORDS = frozenset(
    ("the", "and", "are", "there", "while", "with", "under", "below", "front", "left", "right", "next")
)
"""Words that may come twice in a caption."""


@dataclass(frozen=True, slots=True)
class Description:
    """What is said of a scene.

    Attributes:
        captions: five different ones.
        subject: ``kind`` (COCO's name), ``color`` (or ``None``) and ``count`` of what the first caption names first.
    """

    captions: tuple[str, ...]
    subject: dict[str, str | int | None]


def describe(scene: Scene, rng: np.random.Generator) -> Description | None:
    """Captions of a scene; ``None`` where too little of it can be named."""
    groups = find_groups(scene)
    counted = [group for group in groups if group.counted]
    if not counted:
        return None
    speaker = _Speaker(scene, rng, groups)
    texts = [speaker.opening(counted[0])]
    forms = (speaker.placed, speaker.pair, speaker.listing, speaker.there, speaker.event, speaker.when, speaker.related)
    order = [forms[place] for place in rng.permutation(len(forms)).tolist()]
    for turn in range(60):
        subject = _subject(rng, groups)
        text = order[turn % len(order)](subject)
        if text is not None and text not in texts:
            texts.append(text)
        if len(texts) == CAPTIONS:
            first = counted[0]
            return Description(tuple(texts), {"kind": first.kind.name, "color": first.color, "count": first.count})
    return None


def _subject(rng: np.random.Generator, groups: list[Group]) -> Group:
    """One of the more striking groups."""
    return groups[min(int(rng.exponential(1.2)), len(groups) - 1)]


def with_article(text: str) -> str:
    """``a`` or ``an`` before a text."""
    return ("an " if text[0] in "aeiou" and not text.startswith("one") else "a ") + text


def _be(name: str) -> str:
    """``is`` for one thing or one group of them, else ``are``."""
    return "is" if name.startswith(("a ", "an ")) else "are"


def _content(text: str) -> set[str]:
    """The words that should not come twice in a caption."""
    return {word for word in text.replace(",", "").split() if len(word) > 2} - SMALL_WORDS


class _Speaker:
    """Forms sentences about one scene. Each form returns ``None`` where it has nothing to say about a group."""

    def __init__(self, scene: Scene, rng: np.random.Generator, groups: list[Group]) -> None:
        self._scene = scene
        self._rng = rng
        self._groups = groups

    def opening(self, group: Group) -> str:
        """The first caption: the most striking group and whatever tells this scene from others."""
        forms: list[Callable[[Group], str | None]] = [self.related, self.pair, self.placed]
        start = int(self._rng.integers(3))
        for form in (*forms[start:], *forms[:start]):
            text = form(group)
            if text is not None:
                return text
        return self._end(self.name(group), None, group)

    def name(self, group: Group) -> str:
        """A noun phrase: number, colour, noun."""
        kind, rng = group.kind, self._rng
        person = kind.name == "person"
        color = f"{group.color} " if group.color is not None and not person else ""
        after = f" in {group.color}" if group.color is not None and person else ""
        if group.count == 1:
            return with_article(f"{color}{kind.noun}") + after
        number = COUNTS[group.count] if group.counted else pick(rng, ("several", "some", FLOCKS.get(kind.name, "many")))
        if number == "many" and group.count < 5:
            number = "several"
        return f"{number} {color}{kind.plural}{after}"

    def place(self, group: Group) -> str | None:
        """Where the group is."""
        if group.place is None:
            return None
        if group.place == "grass-merged" and group.kind.supercategory == "animal" and self._rng.random() < 0.5:
            return "in the grass"
        local = LOCAL_PLACES.get((self._scene.setting.name, group.place))
        return pick(self._rng, local or PLACES[group.place])

    def placed(self, group: Group) -> str | None:
        """Two red cars on the road under a cloudy sky."""
        place = self.place(group)
        return None if place is None else self._end(f"{self.name(group)} {place}", group.place, group)

    def pair(self, group: Group) -> str | None:
        """A brown dog on the grass and two people in a park."""
        other = self._other(group)
        if other is None:
            return None
        same = group.place is not None and group.place == other.place
        if same:
            text = f"{self.name(group)} and {self.name(other)} {self.place(group)}"
        else:
            first, second = self.place(group), self.place(other)
            if first is None or second is None or first == second:
                return self._end(f"{self.name(group)} and {self.name(other)}", None, group)
            text = f"{self.name(group)} {first} and {self.name(other)} {second}"
        return self._end(text, group.place, group, short=True)

    def related(self, group: Group) -> str | None:
        """A bench to the left of a person in red."""
        for other in self._others(group):
            how = relation(group, other) if group.counted and other.counted else None
            if how is not None:
                text = f"{self.name(group)} {how} {self.name(other)}"
                return self._end(text, None, group)
        return None

    def listing(self, group: Group) -> str | None:
        """A beach with two people, a dog and three boats."""
        others = self._others(group)[: int(self._rng.integers(1, 3))]
        if len(others) == 2 and not others[0].disjoint(others[1]):
            others = others[:1]
        names = [self.name(each) for each in (group, *others)]
        if len(names) == 1:
            return None
        listed = f"{', '.join(names[:-1])} and {names[-1]}"
        text = f"{pick(self._rng, self._scene.setting.scenes)} with {listed}"
        if self._scene.sky is not None and self._rng.random() < 0.5:
            text = self._join(text, [self._sky_tail(), self._time()])
        return text

    def there(self, group: Group) -> str | None:
        """There are three cows on the grass and a house in the background."""
        place = self.place(group) or self._setting_phrase()
        name = self.name(group)
        other = self._other(group)
        text = f"there {_be(name)} {name} {place}"
        if other is not None and self._rng.random() < 0.6:
            if other.place == group.place:
                return f"there {_be(name)} {name} and {self.name(other)} {place}"
            where = self.place(other)
            if where is not None:
                return f"{text}, and {self.name(other)} {where}"
        return self._end(text, group.place, group)

    def event(self, group: Group) -> str | None:
        """Two birds are flying in the sky while a person in blue is standing on the sand."""
        text = self._clause(group)
        if text is None:
            return None
        other = self._other(group)
        if other is not None and other.place != group.place and self._rng.random() < 0.6:
            second = self._clause(other)
            if second is not None:
                return f"{text} {pick(self._rng, ('while', 'and'))} {second}"
        return self._end(text, group.place, group)

    def when(self, group: Group) -> str | None:
        """On a sunny day, a dog is standing on the sand next to two chairs."""
        opening = self._time() if self._rng.random() < 0.6 else None
        opening = opening or self._setting_phrase()
        text = self._clause(group)
        if text is None or _content(opening) & _content(text):
            return None
        other = next((o for o in self._others(group) if relation(group, o) and group.counted and o.counted), None)
        if other is not None and self._rng.random() < 0.7:
            text = f"{text} {relation(group, other)} {self.name(other)}"
        return f"{opening}, {text}"

    def _clause(self, group: Group) -> str | None:
        """A group, what it does and where."""
        place = self.place(group)
        if place is None:
            return None
        verb = {"sky-other-merged": "flying", "sea": "floating", "river": "floating", "wall": "hanging"}.get(
            group.place or "", "standing" if group.kind.name in STANDING else ""
        )
        if group.kind.name == "bird" and group.place not in (SKY, None):
            verb = ""
        name = self.name(group)
        return " ".join(word for word in (name, _be(name), verb, place) if word)

    def _others(self, group: Group) -> list[Group]:
        """Groups to name beside one, in an order of chance that favours the striking ones."""
        rest = [other for other in self._groups if other.disjoint(group)]
        # The same kind twice needs two colours, else one of the counts would be wrong.
        rest = [o for o in rest if o.kind.id != group.kind.id or (o.color and group.color)]
        keys = self._rng.uniform(0, 2.5, len(rest)) + np.arange(len(rest))
        return [rest[place] for place in np.argsort(keys).tolist()]

    def _other(self, group: Group) -> Group | None:
        return next(iter(self._others(group)), None)

    def _setting_phrase(self) -> str:
        return pick(self._rng, self._scene.setting.phrases)

    def _time(self) -> str | None:
        sky = self._scene.sky
        return None if sky is None else pick(self._rng, sky.weather.times)

    def _sky_tail(self) -> str | None:
        sky = self._scene.sky
        if sky is None or self._scene.area_of(STUFF_IDS[SKY]) < 0.05 * self._scene.owner.size:
            return None
        return f"{pick(self._rng, ('under', 'below'))} {with_article(pick(self._rng, sky.weather.skies))}"

    def _end(self, text: str, place: str | None, group: Group, *, short: bool = False) -> str:
        """The text with one or two more things that are true of the scene."""
        tails: list[str | None] = [self._setting_phrase(), self._time()]
        if place != SKY:
            tails.append(self._sky_tail())
            behind = backdrop(self._scene, min(member.depth for member in group.members))
            if behind and place not in (TABLE, None):
                tails.append(f"with {pick(self._rng, behind)} in the background")
        order = self._rng.permutation(len(tails)).tolist()
        chosen = [tails[index] for index in order][: 1 if short or self._rng.random() < 0.7 else 2]
        # What begins with "with" or names the sky reads best at the end.
        chosen.sort(key=lambda tail: (tail or "").startswith(("with", "under", "below")))
        return self._join(text, chosen)

    def _join(self, text: str, tails: list[str | None]) -> str:
        """The text and those tails that repeat none of its words, at most one of them about sky or time."""
        weather = 0
        for tail in tails:
            about_sky = tail is not None and ("sky" in tail or "day" in tail or "sun" in tail or "morning" in tail)
            if tail is None or _content(tail) & _content(text) or (about_sky and weather):
                continue
            weather += about_sky
            text = f"{text} {tail}"
        return text
