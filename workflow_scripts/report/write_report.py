from pathlib import Path

from geolatents.report.entries import read_entries
from geolatents.report.page import write_report
from geolatents.workflow import rule_log

with rule_log(snakemake):
    write_report(
        read_entries(snakemake.params.entries),
        root=Path(snakemake.input.summary).parent,
        output=Path(snakemake.output[0]),
        summary=Path(snakemake.input.summary),
        datasets=snakemake.params.datasets,
        studies=snakemake.params.studies,
    )
