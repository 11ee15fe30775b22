from pathlib import Path

from geolatents.labels.cooccurrence import measure_cooccurrence
from geolatents.stores import store_of
from geolatents.workflow import rule_log

with rule_log(snakemake):
    measure_cooccurrence(
        labels=store_of(Path(snakemake.input.labels)),
        split=Path(snakemake.input.split).with_suffix(".parquet"),
        output=Path(snakemake.output[0]),
    )
