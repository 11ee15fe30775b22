from pathlib import Path

from geolatents.acquire.landcover.download import combine_landcover
from geolatents.settings.corine import CorineProduct
from geolatents.workflow import rule_log

with rule_log(snakemake):
    combine_landcover(
        CorineProduct.parse(snakemake.params.product),
        record=Path(snakemake.input[0]),
        output=Path(snakemake.output[0]),
    )
