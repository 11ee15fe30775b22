from pathlib import Path

from geolatents.acquire.landcover.read import check_landcover
from geolatents.nomenclature import corine
from geolatents.settings.landcover import LandCover
from geolatents.workflow import paths, rule_log

with rule_log(snakemake):
    check_landcover(
        LandCover.parse(snakemake.params.config),
        files=paths(snakemake.input.files),
        nomenclature=corine(),
        scenes=paths(snakemake.input.scenes),
        output=Path(snakemake.output[0]),
    )
