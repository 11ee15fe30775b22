from pathlib import Path

from geolatents.learning.devices import use_devices
from geolatents.olr.decoder import train_decoder
from geolatents.settings.models import Decoder
from geolatents.stores import store_of
from geolatents.workflow import checkpoints, rule_log, stores

with rule_log(snakemake):
    train_decoder(
        Decoder.parse(snakemake.params.config),
        seed=int(snakemake.wildcards.seed),
        stores=stores(snakemake.input.tiles),
        labels=store_of(Path(snakemake.input.labels)),
        split=Path(snakemake.input.split).with_suffix(".parquet"),
        order=store_of(Path(snakemake.input.order)),
        embeddings=Path(snakemake.input.embeddings),
        predictions=Path(snakemake.input.predictions),
        tiles=Path(snakemake.input.summary).with_suffix(".parquet"),
        model=Path(snakemake.output.model),
        scores_model=Path(snakemake.output.scores_model),
        history=Path(snakemake.output.history),
        scores=Path(snakemake.output.scores),
        redrawn=Path(snakemake.output.redrawn),
        checkpoints=checkpoints(snakemake),
        strategy=use_devices(snakemake.resources.gpu, snakemake.threads),
    )
