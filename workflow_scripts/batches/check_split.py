from pathlib import Path

from geolatents.batches.splits import check_split
from geolatents.paths import data_root
from geolatents.settings.splits import parse_split
from geolatents.workflow import rule_log

with rule_log(snakemake):
    check_split(
        parse_split(snakemake.params.config),
        table=Path(snakemake.input.summary).with_suffix(".parquet"),
        root=data_root(),
        output=Path(snakemake.output[0]),
    )
