from pathlib import Path

from geolatents.acquire.synthetic.polygons import draw_landcover
from geolatents.settings.synthetic import SyntheticImagery
from geolatents.workflow import rule_log

with rule_log(snakemake):
    draw_landcover(
        SyntheticImagery.parse(snakemake.params.config), output=Path(snakemake.output[0])
    )
