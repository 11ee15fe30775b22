from pathlib import Path

from geolatents.report.entries import StudyEntry
from geolatents.report.study import compare_study
from geolatents.workflow import rule_log

with rule_log(snakemake):
    compare_study(
        StudyEntry.parse(snakemake.params.entry),
        root=Path(snakemake.params.results.value),
        output=Path(snakemake.output.tables),
        text=Path(snakemake.output.text),
    )
