from pathlib import Path

from geolatents.labels.cover import measure_cover
from geolatents.nomenclature import corine
from geolatents.stores import store_of
from geolatents.workflow import rule_log

with rule_log(snakemake):
    measure_cover(
        tiles=store_of(Path(snakemake.input.tiles)),
        landcover=Path(snakemake.input.landcover),
        nomenclature=corine(),
        store=Path(snakemake.output.store),
        manifest=Path(snakemake.output.manifest),
        workers=snakemake.threads,
    )
