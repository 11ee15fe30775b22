from pathlib import Path

from geolatents.batches.legacy import export_legacy
from geolatents.stores import store_of
from geolatents.workflow import optional_path, rule_log, stores

with rule_log(snakemake):
    export_legacy(
        stores=stores(snakemake.input.tiles),
        labels=store_of(Path(snakemake.input.labels)),
        order=optional_path(stores(snakemake.input.order)),
        folder=Path(snakemake.output[0]),
    )
