from pathlib import Path

from geolatents.settings.tiles import TileSettings
from geolatents.tiles.cut import cut_tiles
from geolatents.workflow import rule_log

with rule_log(snakemake):
    cut_tiles(
        record=Path(snakemake.input.scene),
        settings=TileSettings.parse(snakemake.params.config),
        store=Path(snakemake.output.store),
        manifest=Path(snakemake.output.manifest),
        workers=snakemake.threads,
    )
