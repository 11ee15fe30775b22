from pathlib import Path

from geolatents.batches.splits import make_split
from geolatents.paths import data_root
from geolatents.settings.splits import parse_split
from geolatents.workflow import rule_log, stores

with rule_log(snakemake):
    make_split(
        parse_split(snakemake.params.config),
        table=Path(snakemake.input.summary).with_suffix(".parquet"),
        root=data_root(),
        covers=stores(snakemake.input.covers),
        output=Path(snakemake.output.table),
        summary=Path(snakemake.output.summary),
    )
