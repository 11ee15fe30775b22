from pathlib import Path

from geolatents.report.entries import StudyEntry
from geolatents.report.study_figures import draw_study
from geolatents.settings.figures import Figures
from geolatents.workflow import paths, rule_log

with rule_log(snakemake):
    draw_study(
        StudyEntry.parse(snakemake.params.entry),
        root=Path(snakemake.params.results.value),
        outputs=paths(snakemake.output.figures),
        settings=Figures.parse(snakemake.params.figures),
    )
