from pathlib import Path

from geolatents.olr.embedding_figure import draw_embedding
from geolatents.settings.figures import Figures
from geolatents.workflow import rule_log

with rule_log(snakemake):
    draw_embedding(
        Path(snakemake.input[0]),
        Path(snakemake.output[0]),
        Figures.parse(snakemake.params.figures),
    )
