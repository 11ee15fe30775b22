"""Reading a split: the part that each tile belongs to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from geolatents.errors import SplitError

PARTS = ("train", "validation", "test")
BUFFER = "buffer"
"""Part of tiles that belong to no part, since they lie too near another one."""


def read_split(file: Path) -> pd.DataFrame:
    """Read a split: columns ``id``, ``part``, ``block``, one row per tile.

    Raises:
        SplitError: The file is missing or no split.
    """
    try:
        split: pd.DataFrame = pq.read_table(file, columns=["id", "part", "block"]).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise SplitError(
            "split cannot be read", where=file, found=error, fix="rerun the rule that makes it"
        ) from None
    return split


def parts_of(ids: npt.ArrayLike, file: Path) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_]]:
    """Part and block of the given tiles.

    Args:
        ids: Tile ids, shape (tile,).
        file: Split.

    Returns:
        Parts and blocks, each of shape (tile,).

    Raises:
        SplitError: A tile is not in the split.
    """
    split = read_split(file).set_index("id")
    wanted = pd.Index(np.asarray(ids, dtype=str))
    missing = wanted[~wanted.isin(split.index)]
    if len(missing):
        raise SplitError(
            f"{len(missing)} tiles are not in the split",
            where=file,
            found=", ".join(missing[:5]),
            fix="rerun the rule that makes the split",
        )
    rows = split.loc[wanted]
    return rows["part"].to_numpy(dtype=str), rows["block"].to_numpy(dtype=str)
