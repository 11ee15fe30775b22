from pathlib import Path

from geolatents.olr.elsewhere import run_experiment_elsewhere
from geolatents.settings.experiments import Experiment
from geolatents.workflow import paths, rule_log

with rule_log(snakemake):
    run_experiment_elsewhere(
        Experiment.parse(snakemake.params.config),
        seeds=snakemake.params.seeds,
        applied=paths(snakemake.input.applied),
        classifier=paths(snakemake.input.classifier),
        siamese=paths(snakemake.input.siamese),
        output=Path(snakemake.output[0]),
        tiles=Path(snakemake.input.summary).with_suffix(".parquet"),
        dataset=snakemake.wildcards.other,
        name=snakemake.wildcards.experiment,
        ledger=Path(snakemake.params.ledger),
    )
