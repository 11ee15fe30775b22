from pathlib import Path

from geolatents.batches.counts import count_labels
from geolatents.stores import store_of
from geolatents.workflow import rule_log

with rule_log(snakemake):
    count_labels(
        order=store_of(Path(snakemake.input.order)),
        labels=store_of(Path(snakemake.input.labels)),
        table=Path(snakemake.output[0]),
    )
