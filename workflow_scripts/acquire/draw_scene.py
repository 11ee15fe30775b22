from pathlib import Path

from geolatents.acquire.synthetic.scenes import draw_scene
from geolatents.settings.synthetic import SyntheticImagery
from geolatents.workflow import rule_log

with rule_log(snakemake):
    draw_scene(
        SyntheticImagery.parse(snakemake.params.config),
        scene=snakemake.wildcards.scene,
        output=Path(snakemake.output[0]),
    )
