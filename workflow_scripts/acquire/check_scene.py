from pathlib import Path

from geolatents.paths import data_root
from geolatents.settings.scenes import parse_scene_imagery
from geolatents.settings.tiles import TileSettings
from geolatents.tiles.check import check_scene, other_scenes
from geolatents.workflow import rule_log

with rule_log(snakemake):
    imagery = parse_scene_imagery(snakemake.params.imagery)
    check_scene(
        scene=snakemake.wildcards.scene,
        file=Path(snakemake.input.file),
        imagery=imagery,
        tiles=TileSettings.parse(snakemake.params.tiles),
        output=Path(snakemake.output[0]),
        others=other_scenes(snakemake.wildcards.scene, imagery, data_root()),
    )
