"""Batch orders: which tiles a training step sees."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from geolatents.settings.base import Name, Section


class BatchOrder(Section):
    """An order of the training tiles; images are never copied for it."""

    split: Name = Field(description="Split whose training part is ordered.")
    order: Literal["in_order", "randomized"] = Field(
        "randomized",
        description="`in_order`: scene by scene, row by row, as tiles were cut; `randomized`: shuffled anew each epoch.",
    )
    batch_size: int = Field(
        32, ge=1, description="Tiles per step; the last, smaller batch of an epoch is dropped."
    )
    epochs: int = Field(10, ge=1, description="Epochs in the order; a longer training starts over.")
    seed: int = Field(0, ge=0, description="Seed of the shuffling.")
