"""Trunks: one function per topology, from configuration to a module with named features."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from yolor_mtl.config import fill, nearest
from yolor_mtl.models.trunks.base import FeatureInfo, Trunk
from yolor_mtl.models.trunks.elan import ElanConfig, ElanTrunk
from yolor_mtl.models.trunks.gelan import GelanConfig, GelanTrunk
from yolor_mtl.models.trunks.gyolo import GyoloConfig, GyoloTrunk
from yolor_mtl.records import UserError

__all__ = ["TRUNKS", "FeatureInfo", "Trunk", "build_trunk"]


def _elan(config: Mapping[str, Any], demand: Collection[str]) -> Trunk:
    return ElanTrunk(fill(ElanConfig, config, where="trunk"), demand)


def _gelan(config: Mapping[str, Any], demand: Collection[str]) -> Trunk:
    return GelanTrunk(fill(GelanConfig, config, where="trunk"), demand)


def _gyolo(config: Mapping[str, Any], demand: Collection[str]) -> Trunk:
    return GyoloTrunk(fill(GyoloConfig, config, where="trunk"), demand)


TRUNKS: Mapping[str, Callable[[Mapping[str, Any], Collection[str]], Trunk]] = {
    "elan": _elan,
    "gelan": _gelan,
    "gyolo": _gyolo,
}
"""Topology -> its function (configuration, demanded features) -> trunk."""


def build_trunk(config: Mapping[str, Any], demand: Collection[str]) -> Trunk:
    """The trunk that a network's row of configuration describes.

    Args:
        config: ``kind`` names the topology; the rest is that topology's own configuration.
        demand: names of the features that heads read; nothing else is built.

    Raises:
        UserError: unknown topology, key or feature.
    """
    kind = str(config.get("kind", ""))
    if kind not in TRUNKS:
        raise UserError(f"unknown trunk.kind {kind!r}{nearest(kind, TRUNKS)}; there are: {', '.join(TRUNKS)}")
    return TRUNKS[kind]({key: value for key, value in config.items() if key != "kind"}, demand)
