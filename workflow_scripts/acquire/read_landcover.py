from pathlib import Path

from geolatents.acquire.landcover.read import read_landcover
from geolatents.nomenclature import corine
from geolatents.settings.landcover import LandCover
from geolatents.workflow import paths, rule_log

with rule_log(snakemake):
    read_landcover(
        LandCover.parse(snakemake.params.config),
        files=paths(snakemake.input.files),
        nomenclature=corine(),
        scenes=paths(snakemake.input.scenes),
        check=Path(snakemake.input.check),
        output=Path(snakemake.output[0]),
    )
