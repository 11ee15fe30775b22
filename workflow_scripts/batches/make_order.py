from pathlib import Path

from geolatents.batches.orders import make_order
from geolatents.settings.batches import BatchOrder
from geolatents.workflow import rule_log

with rule_log(snakemake):
    make_order(
        BatchOrder.parse(snakemake.params.config),
        table=Path(snakemake.input.summary).with_suffix(".parquet"),
        split=Path(snakemake.input.split).with_suffix(".parquet"),
        store=Path(snakemake.output.store),
        manifest=Path(snakemake.output.manifest),
    )
