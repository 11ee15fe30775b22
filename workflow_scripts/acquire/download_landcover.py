from pathlib import Path

from geolatents.acquire.landcover.download import download_landcover
from geolatents.paths import downloads_root
from geolatents.settings.corine import CorineProduct, CorineService
from geolatents.workflow import paths, rule_log

with rule_log(snakemake):
    download_landcover(
        CorineProduct.parse(snakemake.params.product),
        CorineService.parse(snakemake.params.service.value),
        area=snakemake.params.area,
        scenes=paths(snakemake.input.scenes),
        downloads=downloads_root(),
        output=Path(snakemake.output[0]),
    )
