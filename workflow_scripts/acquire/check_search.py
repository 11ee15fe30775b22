from pathlib import Path

from geolatents.acquire.scene_list import check_list
from geolatents.workflow import rule_log

with rule_log(snakemake):
    check_list(
        file=Path(snakemake.params.list),
        search=snakemake.params.search,
        output=Path(snakemake.output[0]),
    )
