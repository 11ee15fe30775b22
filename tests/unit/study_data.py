"""A results folder in which one made-up experiment plays all parts of the predecessor's study."""

from pathlib import Path

import pandas as pd

from geolatents.labels.cooccurrence import measure_cooccurrence
from geolatents.report.entries import StudyEntry, StudyPart
from geolatents.settings.study import OrthophotoParts, PlanetScopeParts
from tests.unit.label_makers import write_labels
from tests.unit.olr_data import build_results, world
from tests.unit.report_data import add_orders


def all_parts() -> list[str]:
    """Names of all parts of a study."""
    planet = [f"planetscope.{name}" for name in PlanetScopeParts.model_fields if name != "runs"]
    runs = [f"planetscope.run_{number}" for number in range(1, 9)]
    return [*runs, *planet, *(f"orthophotos.{name}" for name in OrthophotoParts.model_fields)]


def build_study(root: Path, left_out: tuple[str, ...] = ()) -> StudyEntry:
    """Results of ``olr_data`` and a study whose parts are all that experiment, but those left out."""
    entry = build_results(root)
    data = root / "demo"
    ids = pd.read_parquet(data / "tiles.parquet")["id"].tolist()
    store = write_labels(data / "labels" / "standard.zarr", ids, world()[0])
    measure_cooccurrence(
        store, data / "splits" / "blocks.parquet",
        data / "labels" / "standard" / "cooccurrence-blocks.json",
    )  # fmt: skip
    add_orders(data, ("standard",))
    parts = [
        StudyPart(
            **entry.model_dump(),
            part=part,
            batches="in-order" if part.endswith("8") else "a-randomized",
            network="olr_cnn",
            epochs=2,
        )
        for part in all_parts()
        if part not in left_out
    ]
    return StudyEntry(name="made-up", parts=parts)
