from pathlib import Path

from geolatents.olr.experiment import run_experiment
from geolatents.settings.experiments import Experiment
from geolatents.workflow import paths, rule_log

with rule_log(snakemake):
    run_experiment(
        Experiment.parse(snakemake.params.config),
        seeds=snakemake.params.seeds,
        classifier=paths(snakemake.input.classifier),
        siamese=paths(snakemake.input.siamese),
        split=Path(snakemake.input.split).with_suffix(".parquet"),
        tiles=Path(snakemake.input.summary).with_suffix(".parquet"),
        output=Path(snakemake.output.agreement),
        per_label=Path(snakemake.output.per_label),
        name=snakemake.wildcards.experiment,
        ledger=Path(snakemake.params.ledger),
    )
