from pathlib import Path

from geolatents.settings.imagery import parse_imagery
from geolatents.settings.tiles import TileSettings
from geolatents.tiles.check import check_scene
from geolatents.workflow import rule_log

with rule_log(snakemake):
    check_scene(
        scene=snakemake.wildcards.scene,
        file=Path(snakemake.input.file),
        imagery=parse_imagery(snakemake.params.imagery),
        tiles=TileSettings.parse(snakemake.params.tiles),
        output=Path(snakemake.output[0]),
    )
