"""The CORINE nomenclature: frozen order and official values."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from geolatents.errors import LabelError
from geolatents.nomenclature import LandClass, Nomenclature, corine, listed_nomenclature


def test_corine_has_44_classes_in_the_order_of_their_codes() -> None:
    codes = corine().codes
    assert len(codes) == 44
    assert codes == sorted(codes)
    assert (codes[0], codes[-1]) == ("111", "523")
    assert corine().by_grid_code() == {grid: grid - 1 for grid in range(1, 45)}


def test_bigearthnet_has_19_classes_and_drops_those_it_cannot_tell() -> None:
    named = {item.bigearthnet19 for item in corine().classes if item.bigearthnet19}
    assert len(named) == 19
    assert [c.code for c in corine().classes if not c.bigearthnet19] == [
        "122", "123", "124", "131", "132", "133", "141", "142", "332", "334", "335", "423",
    ]  # fmt: skip


@pytest.mark.real_data
def test_values_are_the_official_ones(data_folder: Path) -> None:
    legend = (data_folder / "clc_nomenclature/clc_legend.csv").read_text(encoding="latin-1")
    rows = {row["CLC_CODE"]: row for row in csv.DictReader(legend.splitlines(), delimiter=";")}
    details = json.loads((data_folder / "clc_nomenclature/clc_metadata.json").read_text())[
        "clc_data"
    ]
    group = {row["code"]: row["name_19"].replace("UNLABELED", "") for row in details}
    for item in corine().classes:
        rgb = "-".join(f"{int(item.colour[i : i + 2], 16):03d}" for i in (1, 3, 5))
        row = rows[item.code]
        assert (str(item.grid_code), item.name, rgb) == (
            row["GRID_CODE"],
            row["LABEL3"],
            row["RGB"],
        )
        assert item.bigearthnet19 == group[item.code]


def test_order_is_the_given_one_and_subset_keeps_it() -> None:
    own = listed_nomenclature("own", ["zebra", "ant", "mole"])
    assert own.codes == ["zebra", "ant", "mole"]
    assert [item.code for item in own.subset(["mole", "zebra"])] == ["zebra", "mole"]
    assert len({item.colour for item in own.classes}) == 3


def test_unknown_and_double_codes_are_errors() -> None:
    with pytest.raises(LabelError, match="'999' is not a class"):
        corine().index("999")
    with pytest.raises(LabelError, match="'x' occurs twice"):
        Nomenclature("own", (LandClass("x", "X", "#000000"), LandClass("x", "Y", "#000000")))
