from pathlib import Path

from geolatents.report.entries import read_entries
from geolatents.report.summary import summarise
from geolatents.workflow import rule_log

with rule_log(snakemake):
    summarise(
        read_entries(snakemake.params.entries),
        root=Path(snakemake.output[0]).parent,
        output=Path(snakemake.output[0]),
    )
