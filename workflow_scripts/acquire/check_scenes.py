from pathlib import Path

from geolatents.settings.landcover import LandCover
from geolatents.settings.tiles import TileSettings
from geolatents.tiles.check import check_scenes
from geolatents.workflow import rule_log

with rule_log(snakemake):
    landcover = LandCover.parse(snakemake.params.landcover)
    check_scenes(
        checks=[Path(check) for check in snakemake.input],
        landcover_year=landcover.year,
        minimum_unit_ha=landcover.minimum_unit_ha,
        tiles=TileSettings.parse(snakemake.params.tiles),
        output=Path(snakemake.output.common),
        warnings=Path(snakemake.output.warnings),
    )
