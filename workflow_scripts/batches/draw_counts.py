from pathlib import Path

from geolatents.batches.figures import draw_counts
from geolatents.settings.figures import Figures
from geolatents.workflow import rule_log

with rule_log(snakemake):
    draw_counts(
        table=Path(snakemake.input.table),
        order=Path(snakemake.input.order),
        labels=Path(snakemake.input.labels),
        output=Path(snakemake.output[0]),
        settings=Figures.parse(snakemake.params.figures),
    )
