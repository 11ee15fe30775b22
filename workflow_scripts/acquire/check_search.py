from pathlib import Path

from geolatents.acquire.scene_list import refuse_list
from geolatents.workflow import rule_log

with rule_log(snakemake):
    refuse_list(Path(snakemake.params.list), search=snakemake.params.search)
