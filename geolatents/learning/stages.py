"""Where a network halves its maps: its stages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


def halvings(model: keras.Model) -> dict[str, float]:
    """How often the map of each layer, by name, was halved; of one without a map, those it was made of."""
    halved: dict[str, float] = {}
    for entry in model.get_config()["layers"]:
        before = [halved.get(name, 0.0) for name in _sources(entry["inbound_nodes"])]
        stride = max(np.ravel(entry["config"].get("strides") or 1))
        halved[entry["name"]] = max(before, default=0.0) + math.log2(stride)
    return halved


def last_maps(model: keras.Model) -> list[Any]:
    """The last map of every stage, large ones first; sizes at which nothing is learned are no stage."""
    halved = halvings(model)
    learning = {halved[layer.name] for layer in model.layers if layer.weights}
    maps = {
        halved[layer.name]: layer.output for layer in model.layers if len(layer.output.shape) == 4
    }
    return [maps[size] for size in sorted(learning & maps.keys())]


def _sources(nodes: Any) -> Iterator[str]:
    """Names of the layers that a serialised layer is called on, at any depth."""
    if isinstance(nodes, dict):
        if nodes.get("class_name") == "__keras_tensor__":
            yield nodes["config"]["keras_history"][0]
        else:
            yield from _sources(list(nodes.values()))
    elif isinstance(nodes, list | tuple):
        for node in nodes:
            yield from _sources(node)
