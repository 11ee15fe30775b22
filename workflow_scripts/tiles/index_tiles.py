from pathlib import Path

from geolatents.tiles.index import index_tiles
from geolatents.workflow import paths, rule_log, stores

with rule_log(snakemake):
    index_tiles(
        dataset=snakemake.wildcards.dataset,
        stores=stores(snakemake.input.manifests),
        manifests=paths(snakemake.input.manifests),
        table=Path(snakemake.output.table),
        output=Path(snakemake.output.summary),
    )
