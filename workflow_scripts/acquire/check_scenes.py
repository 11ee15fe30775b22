from pathlib import Path

from geolatents.settings.landcover import parse_landcover
from geolatents.settings.tiles import TileSettings
from geolatents.tiles.check import check_scenes
from geolatents.workflow import rule_log

with rule_log(snakemake):
    check_scenes(
        checks=[Path(check) for check in snakemake.input],
        landcover=parse_landcover(snakemake.params.landcover),
        tiles=TileSettings.parse(snakemake.params.tiles),
        output=Path(snakemake.output.common),
        warnings=Path(snakemake.output.warnings),
    )
