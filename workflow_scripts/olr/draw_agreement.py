from pathlib import Path

from geolatents.olr.figures import draw_experiment
from geolatents.settings.figures import Figures
from geolatents.workflow import rule_log

with rule_log(snakemake):
    draw_experiment(
        agreement=Path(snakemake.input.agreement),
        labels=Path(snakemake.input.labels),
        output=Path(snakemake.output[0]),
        name=snakemake.wildcards.experiment,
        settings=Figures.parse(snakemake.params.figures),
    )
