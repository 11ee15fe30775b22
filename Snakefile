"""geolatents: what satellite images say about the land. Rules lie in rules/, their logic in geolatents/."""

import os

from snakemake.utils import min_version

from geolatents.acquire.scene_list import CELL
from geolatents.hooks import (
    forget_forced,
    outlive_warnings,
    print_costs,
    print_estimate,
    print_failures,
    print_summary,
)
from geolatents.report.entries import entries_text
from geolatents.settings.config import validate_config
from geolatents.plan import STATE, STUDY_FIGURES, Plan, pattern
from geolatents.workflow import code, parse_or_explain, unwatched

min_version("9.20")
outlive_warnings()

# Command-line configuration replaces the demo instead of being merged into it.
if not {"datasets", "photos"} & set(config):

    configfile: os.path.join(workflow.basedir, "config.yaml")


PLAN = parse_or_explain(
    lambda: Plan(
        validate_config(config, where=", ".join(map(str, workflow.configfiles)))
    )
)
os.environ.setdefault(
    "GEOLATENTS_HOME", workflow.basedir
)  # envs/*.yaml install the library from here
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow uses oneDNN's kernels by itself only on processors with AVX-512 or AMX; with AVX2 alone a training step
# takes 0.6 of the time with them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


report: "docs/captions/workflow.rst"


pathvars:
    results=str(PLAN.root),


wildcard_constraints:
    dataset=pattern(PLAN.datasets()),
    other=pattern(PLAN.datasets()),
    scene=pattern(PLAN.names("scenes")),
    labels=pattern(PLAN.names("labels")),
    split=pattern(PLAN.names("splits")),
    order=pattern(PLAN.names("batches")),
    model=pattern(PLAN.config.models),
    experiment=pattern(PLAN.config.experiments),
    proof=pattern(PLAN.config.proofs),
    study=pattern(PLAN.config.study),
    seed=r"\d+",
    photos=pattern(PLAN.config.photos),
    cell=CELL,


localrules:
    all,
    archive,
    search,
    preview,
    check_search,
    check_scenes,
    check_weights,
    download,
    download_scene,
    download_landcover,
    download_archive,
    download_photos,
    download_maps,
    photos,
    tiles,
    labels,
    batches,
    olr,
    vae,
    landuse,
    ground,
    proof,
    report,
    summarise,
    study,
    compare_study,
    draw_study,
    write_report,
    prove,
    verify,


include: "rules/common.smk"
include: "rules/acquire.smk"
include: "rules/tiles.smk"
include: "rules/labels.smk"
include: "rules/batches.smk"
include: "rules/olr.smk"
include: "rules/report.smk"


rule all:
    """Everything that the configuration asks for."""
    default_target: True
    input:
        PLAN.targets(
            "tiles", "index", "labels", "batches", "olr", "photos", "proof", "report"
        ),


rule download:
    """Everything that needs the internet, so that the rest can run without."""
    input:
        PLAN.targets("download"),


rule photos:
    """Photos and maps of all photo sets."""
    input:
        PLAN.targets("photos"),


rule tiles:
    """Tile stores of all datasets; a rebuilt store reruns nothing else here."""
    input:
        PLAN.targets("tiles"),


rule labels:
    """Label sets and their co-occurrence."""
    input:
        PLAN.targets("labels"),


rule batches:
    """Splits, batch orders and their label counts."""
    input:
        PLAN.targets("batches"),


rule olr:
    """Models and experiments of the olr system."""
    input:
        PLAN.targets("olr"),
    message:
        PLAN.target_message("olr")


rule study:
    """The predecessor's study, its tables and figures with ours beside them."""
    input:
        PLAN.targets("study"),
    message:
        PLAN.target_message("study")


rule vae:
    """Autoencoders and what their latent space knows about land."""
    input:
        PLAN.targets("vae"),
    message:
        PLAN.target_message("vae")


rule landuse:
    """Classifiers of land use and their interpretation."""
    input:
        PLAN.targets("landuse"),
    message:
        PLAN.target_message("landuse")


rule ground:
    """Ground photos generated from satellite tiles."""
    input:
        PLAN.targets("ground"),
    message:
        PLAN.target_message("ground")


rule proof:
    """Proofs: experiments that belong together, judged by what was stated before."""
    input:
        PLAN.targets("proof"),
    message:
        PLAN.target_message("proof")


rule report:
    """Summary table and report page."""
    input:
        PLAN.targets("report"),


include: "rules/archive.smk"  # its input is that of `all`


onstart:
    forget_forced(workflow.dag, PLAN.root / STATE)
    print_estimate(workflow)


onsuccess:
    print_costs(workflow)
    print_summary(PLAN)


onerror:
    print_failures(workflow)
