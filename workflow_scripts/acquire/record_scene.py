from pathlib import Path

from geolatents.tiles.check import record_scene
from geolatents.workflow import rule_log

with rule_log(snakemake):
    record_scene(check=Path(snakemake.input.check), output=Path(snakemake.output[0]))
