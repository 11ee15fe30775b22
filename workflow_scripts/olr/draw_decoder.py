from pathlib import Path

from geolatents.olr.decoder_figure import draw_decoder
from geolatents.settings.figures import Figures
from geolatents.workflow import rule_log

with rule_log(snakemake):
    draw_decoder(
        redrawn=Path(snakemake.input[0]),
        output=Path(snakemake.output[0]),
        settings=Figures.parse(snakemake.params.figures),
    )
