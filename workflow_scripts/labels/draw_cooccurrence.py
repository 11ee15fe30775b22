from pathlib import Path

from geolatents.labels.figures import draw_cooccurrence
from geolatents.settings.figures import Figures
from geolatents.workflow import rule_log

with rule_log(snakemake):
    draw_cooccurrence(
        table=Path(snakemake.input[0]),
        output=Path(snakemake.output[0]),
        settings=Figures.parse(snakemake.params.figures),
    )
