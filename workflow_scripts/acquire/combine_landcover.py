from pathlib import Path

from geolatents.acquire.landcover.download import combine_landcover
from geolatents.settings.landcover import LandCover
from geolatents.workflow import rule_log

with rule_log(snakemake):
    combine_landcover(
        LandCover.parse(snakemake.params.config),
        record=Path(snakemake.input[0]),
        output=Path(snakemake.output[0]),
    )
