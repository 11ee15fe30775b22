# Classifiers, Siamese networks, and what they prove.


rule check_training:
    """Check that a classifier can be trained: stores whole, parts filled, every label learnable."""
    input:
        tiles=tile_manifests,
        labels=labels_of_model,
        split=split_of_model,
    output:
        "<results>/{dataset}/checks/training-{model}.json",
    log:
        "<results>/{dataset}/logs/check_training/{model}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/check_training/{model}.tsv"
    wildcard_constraints:
        model=pattern(PLAN.models("classifier")),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=10,
    params:
        config=section("models/{model}", leave_out=("seeds",)),
        code=code("olr.training_check"),
    message:
        "Checking that {wildcards.model} can be trained"
    script:
        "../workflow_scripts/olr/check_training.py"


rule check_weights:
    """Check the pretrained weights of a classifier: the stated file, readable, of its architecture; Keras' own are downloaded here."""
    input:
        weights_of_model,
    output:
        "<results>/{dataset}/checks/weights-{model}.json",
    log:
        "<results>/{dataset}/logs/check_weights/{model}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/check_weights/{model}.tsv"
    wildcard_constraints:
        model=pattern(PLAN.pretrained()),
    conda:
        TRAINING_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=grown(3000),
        runtime=10,
    params:
        config=section("models/{model}/network"),
        source=weights_content,
        code=code("learning.backbones"),
    message:
        "Checking the pretrained weights of {wildcards.model}"
    script:
        "../workflow_scripts/olr/check_weights.py"


rule train_classifier:
    """Train a multi-label classifier with one seed."""
    input:
        tiles=tile_manifests,
        labels=labels_of_model,
        split=split_of_model,
        order=order_of_model,
        check="<results>/{dataset}/checks/training-{model}.json",
        weights=weights_of_model,
        weights_check=weights_check_of_model,
    output:
        model="<results>/{dataset}/models/{model}/seed-{seed}/model.keras",
        history="<results>/{dataset}/models/{model}/seed-{seed}/history.csv",
        predictions=directory(
            "<results>/{dataset}/models/{model}/seed-{seed}/predictions.zarr"
        ),
    log:
        "<results>/{dataset}/logs/train_classifier/{model}-seed-{seed}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/train_classifier/{model}-seed-{seed}.tsv"
    wildcard_constraints:
        model=pattern(PLAN.models("classifier")),
    conda:
        TRAINING_ENVIRONMENT
    threads: 2
    resources:
        mem_mb=grown(4000),
        runtime=240,
        gpu=TRAINING_GPUS,
    params:
        config=section("models/{model}", leave_out=("seeds",)),
        source=weights_content,
        code=code("olr.classifier"),
        checkpoints=unwatched(saved_states),
    message:
        "Training {wildcards.model} with seed {wildcards.seed}"
    script:
        "../workflow_scripts/olr/train_classifier.py"


rule train_siamese:
    """Train a Siamese network on a classifier with one seed."""
    input:
        tiles=tile_manifests,
        labels=labels_of_model,
        split=split_of_model,
        order=order_of_model,
        teacher=teacher_model,
        teacher_predictions=teacher_predictions,
        covers=compared_covers,
    output:
        model="<results>/{dataset}/models/{model}/seed-{seed}/model.keras",
        history="<results>/{dataset}/models/{model}/seed-{seed}/history.csv",
        predictions=directory(
            "<results>/{dataset}/models/{model}/seed-{seed}/predictions.zarr"
        ),
        embeddings=directory(
            "<results>/{dataset}/models/{model}/seed-{seed}/embeddings.zarr"
        ),
    log:
        "<results>/{dataset}/logs/train_siamese/{model}-seed-{seed}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/train_siamese/{model}-seed-{seed}.tsv"
    wildcard_constraints:
        model=pattern(PLAN.models("siamese")),
    conda:
        TRAINING_ENVIRONMENT
    threads: 2
    resources:
        mem_mb=grown(4000),
        runtime=240,
        gpu=TRAINING_GPUS,
    params:
        config=section("models/{model}"),
        teacher=teacher_section,
        code=code("olr.siamese"),
        checkpoints=unwatched(saved_states),
    message:
        "Training {wildcards.model} with seed {wildcards.seed}"
    script:
        "../workflow_scripts/olr/train_siamese.py"


rule train_decoder:
    """Train a network that redraws tiles from a Siamese network's embeddings, and measure it beside its baselines."""
    input:
        tiles=tile_manifests,
        labels=labels_of_model,
        split=split_of_model,
        order=order_of_model,
        embeddings="<results>/{dataset}/models/{model}/seed-{seed}/embeddings.zarr",
        predictions="<results>/{dataset}/models/{model}/seed-{seed}/predictions.zarr",
        summary="<results>/{dataset}/tiles.json",
    output:
        model="<results>/{dataset}/models/{model}/seed-{seed}/decoder/model.keras",
        scores_model="<results>/{dataset}/models/{model}/seed-{seed}/decoder/scores-model.keras",
        history="<results>/{dataset}/models/{model}/seed-{seed}/decoder/history.csv",
        scores="<results>/{dataset}/models/{model}/seed-{seed}/decoder/scores.json",
        redrawn=directory(
            "<results>/{dataset}/models/{model}/seed-{seed}/decoder/redrawn.zarr"
        ),
    log:
        "<results>/{dataset}/logs/train_decoder/{model}-seed-{seed}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/train_decoder/{model}-seed-{seed}.tsv"
    wildcard_constraints:
        model=pattern(PLAN.config.decoders),
    conda:
        TRAINING_ENVIRONMENT
    threads: 2
    resources:
        mem_mb=grown(4000),
        runtime=240,
        gpu=TRAINING_GPUS,
    params:
        config=section("decoders/{model}"),
        code=code("olr.decoder"),
        checkpoints=unwatched(saved_states),
    message:
        "Training the decoder of {wildcards.model} with seed {wildcards.seed}"
    script:
        "../workflow_scripts/olr/train_decoder.py"


rule draw_decoder:
    """Draw test tiles beside what is redrawn of them."""
    input:
        "<results>/{dataset}/models/{model}/seed-{seed}/decoder/redrawn.zarr",
    output:
        report(
            "<results>/{dataset}/models/{model}/seed-{seed}/decoder/decoder.png",
            caption="../docs/captions/decoder.rst",
            category="3. Models",
            subcategory="{dataset}",
            labels={"model": "{model}", "seed": "{seed}", "shows": "redrawn tiles"},
        ),
    log:
        "<results>/{dataset}/logs/draw_decoder/{model}-seed-{seed}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/draw_decoder/{model}-seed-{seed}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        figures=section("figures"),
        code=code("olr.decoder_figure"),
    message:
        "Drawing tiles that {wildcards.model} redraws with seed {wildcards.seed}"
    script:
        "../workflow_scripts/olr/draw_decoder.py"


rule evaluate_model:
    """Measure a trained model beside its trivial baselines."""
    input:
        tiles=tile_manifests,
        predictions="<results>/{dataset}/models/{model}/seed-{seed}/predictions.zarr",
        history="<results>/{dataset}/models/{model}/seed-{seed}/history.csv",
        split=split_of_model,
    output:
        metrics=report(
            "<results>/{dataset}/models/{model}/seed-{seed}/metrics.json",
            caption="../docs/captions/metrics.rst",
            category="3. Models",
            subcategory="{dataset}",
            labels={"model": "{model}", "seed": "{seed}", "shows": "metrics"},
        ),
        card=report(
            "<results>/{dataset}/models/{model}/seed-{seed}/model_card.md",
            caption="../docs/captions/card.rst",
            category="3. Models",
            subcategory="{dataset}",
            labels={"model": "{model}", "seed": "{seed}", "shows": "model card"},
        ),
    log:
        "<results>/{dataset}/logs/evaluate_model/{model}-seed-{seed}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/evaluate_model/{model}-seed-{seed}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=grown(2000),
        runtime=30,
    params:
        config=section("models/{model}", leave_out=("seeds",)),
        ledger=f"{PLAN.root}/{{dataset}}/test-ledger.jsonl",
        code=code("olr.evaluate"),
    message:
        "Measuring {wildcards.model} with seed {wildcards.seed}"
    script:
        "../workflow_scripts/olr/evaluate_model.py"


rule evaluate_embedding:
    """Measure what the label vectors of a Siamese network know beyond probability."""
    input:
        embeddings="<results>/{dataset}/models/{model}/seed-{seed}/embeddings.zarr",
        predictions="<results>/{dataset}/models/{model}/seed-{seed}/predictions.zarr",
        teacher=teacher_predictions,
        split=split_of_model,
        summary="<results>/{dataset}/tiles.json",
        covers=cover_manifests,
    output:
        "<results>/{dataset}/models/{model}/seed-{seed}/embedding.json",
    log:
        "<results>/{dataset}/logs/evaluate_embedding/{model}-seed-{seed}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/evaluate_embedding/{model}-seed-{seed}.tsv"
    wildcard_constraints:
        model=pattern(PLAN.models("siamese")),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=30,
    params:
        ledger=f"{PLAN.root}/{{dataset}}/test-ledger.jsonl",
        code=code("olr.embedding"),
    message:
        "Measuring the embedding of {wildcards.model} with seed {wildcards.seed}"
    script:
        "../workflow_scripts/olr/evaluate_embedding.py"


rule draw_embedding:
    """Draw an embedding beside the scores that it must know more than."""
    input:
        "<results>/{dataset}/models/{model}/seed-{seed}/embedding.json",
    output:
        report(
            "<results>/{dataset}/models/{model}/seed-{seed}/embedding.png",
            caption="../docs/captions/embedding.rst",
            category="3. Models",
            subcategory="{dataset}",
            labels={"model": "{model}", "seed": "{seed}", "shows": "embedding"},
        ),
    log:
        "<results>/{dataset}/logs/draw_embedding/{model}-seed-{seed}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/draw_embedding/{model}-seed-{seed}.tsv"
    wildcard_constraints:
        model=pattern(PLAN.models("siamese")),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        figures=section("figures"),
        code=code("olr.embedding_figure"),
    message:
        "Drawing the embedding of {wildcards.model} with seed {wildcards.seed}"
    script:
        "../workflow_scripts/olr/draw_embedding.py"


rule run_experiment:
    """Compare the label matrices of trained models with the co-occurrence of true labels."""
    input:
        classifier=classifier_predictions,
        siamese=siamese_predictions,
        split=split_of_experiment,
        summary="<results>/{dataset}/tiles.json",
    output:
        agreement="<results>/{dataset}/experiments/{experiment}/agreement.json",
        per_label=report(
            "<results>/{dataset}/experiments/{experiment}/per-label.csv",
            caption="../docs/captions/per-label.rst",
            category="2. Experiments",
            subcategory="{experiment}",
            labels={"on": "{dataset}", "shows": "metrics per label"},
        ),
    log:
        "<results>/{dataset}/logs/run_experiment/{experiment}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/run_experiment/{experiment}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=30,
    params:
        config=section("experiments/{experiment}", leave_out=("apply_to", "map_scene")),
        seeds=seeds_of_experiment,
        ledger=f"{PLAN.root}/{{dataset}}/test-ledger.jsonl",
        code=code("olr.experiment"),
    message:
        "Comparing label matrices of {wildcards.experiment}"
    script:
        "../workflow_scripts/olr/run_experiment.py"


rule apply_classifier:
    """Score all tiles of another dataset, with labels or without, with a classifier."""
    input:
        models=classifier_models,
        labels=labels_of_experiment,
        tiles=other_tile_manifests,
        covers=other_cover_manifests,
    output:
        predictions=directory(
            "<results>/{dataset}/experiments/{experiment}/on-{other}/predictions.zarr"
        ),
    log:
        "<results>/{dataset}/logs/apply_classifier/{experiment}-on-{other}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/apply_classifier/{experiment}-on-{other}.tsv"
    conda:
        TRAINING_ENVIRONMENT
    threads: 2
    resources:
        mem_mb=grown(3000),
        runtime=30,
        gpu=TRAINING_GPUS,
    params:
        seeds=seeds_of_experiment,
        flips=flips_of_experiment,
        code=code("olr.apply"),
    message:
        "Applying the classifier of {wildcards.experiment} to {wildcards.other}"
    script:
        "../workflow_scripts/olr/apply_classifier.py"


rule apply_siamese:
    """Score and embed all tiles of another dataset with a Siamese network."""
    input:
        models=siamese_models,
        trained=siamese_predictions,
        labels=labels_of_experiment,
        tiles=other_tile_manifests,
        covers=other_cover_manifests,
    output:
        predictions=directory(
            "<results>/{dataset}/experiments/{experiment}/on-{other}/siamese-predictions.zarr"
        ),
        embeddings=directory(
            "<results>/{dataset}/experiments/{experiment}/on-{other}/embeddings.zarr"
        ),
    log:
        "<results>/{dataset}/logs/apply_siamese/{experiment}-on-{other}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/apply_siamese/{experiment}-on-{other}.tsv"
    wildcard_constraints:
        experiment=pattern(PLAN.with_siamese()),
    conda:
        TRAINING_ENVIRONMENT
    threads: 2
    resources:
        mem_mb=grown(3000),
        runtime=30,
        gpu=TRAINING_GPUS,
    params:
        config=siamese_section,
        seeds=seeds_of_experiment,
        code=code("olr.apply"),
    message:
        "Applying the Siamese network of {wildcards.experiment} to {wildcards.other}"
    script:
        "../workflow_scripts/olr/apply_siamese.py"


rule run_experiment_elsewhere:
    """Compare the label matrices of applied models with the co-occurrence of another dataset."""
    input:
        applied=applied_predictions,
        classifier=classifier_predictions,
        siamese=siamese_predictions,
        summary="<results>/{other}/tiles.json",
    output:
        "<results>/{dataset}/experiments/{experiment}/on-{other}/agreement.json",
    log:
        "<results>/{dataset}/logs/run_experiment_elsewhere/{experiment}-on-{other}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/run_experiment_elsewhere/{experiment}-on-{other}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=30,
    params:
        config=section("experiments/{experiment}", leave_out=("apply_to", "map_scene")),
        seeds=seeds_of_experiment,
        ledger=f"{PLAN.root}/{{other}}/test-ledger.jsonl",
        code=code("olr.elsewhere"),
    message:
        "Comparing label matrices of {wildcards.experiment} on {wildcards.other}"
    script:
        "../workflow_scripts/olr/run_experiment_elsewhere.py"


rule draw_agreement:
    """Draw label matrices beside the co-occurrence of true labels."""
    input:
        agreement="<results>/{dataset}/experiments/{experiment}/agreement.json",
        labels=labels_of_experiment,
    output:
        report(
            "<results>/{dataset}/experiments/{experiment}/agreement.png",
            caption="../docs/captions/agreement.rst",
            category="2. Experiments",
            subcategory="{experiment}",
            labels={"on": "{dataset}", "shows": "label matrices"},
        ),
    log:
        "<results>/{dataset}/logs/draw_agreement/{experiment}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/draw_agreement/{experiment}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        figures=section("figures"),
        code=code("olr.figures"),
    message:
        "Drawing the agreement of {wildcards.experiment}"
    script:
        "../workflow_scripts/olr/draw_agreement.py"


rule draw_agreement_elsewhere:
    """Draw label matrices beside the co-occurrence of true labels of another dataset."""
    input:
        agreement="<results>/{dataset}/experiments/{experiment}/on-{other}/agreement.json",
        labels=labels_of_experiment,
    output:
        report(
            "<results>/{dataset}/experiments/{experiment}/on-{other}/agreement.png",
            caption="../docs/captions/applied.rst",
            category="2. Experiments",
            subcategory="{experiment}",
            labels={"on": "{other}", "shows": "label matrices"},
        ),
    log:
        "<results>/{dataset}/logs/draw_agreement_elsewhere/{experiment}-on-{other}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/draw_agreement_elsewhere/{experiment}-on-{other}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        figures=section("figures"),
        code=code("olr.figures"),
    message:
        "Drawing the agreement of {wildcards.experiment} on {wildcards.other}"
    script:
        "../workflow_scripts/olr/draw_agreement_elsewhere.py"


rule map_scene:
    """Map the predicted classes over a scene as cloud-optimized GeoTIFFs."""
    input:
        models=classifier_models,
        labels=labels_of_experiment,
        tiles=mapped_tiles,
    output:
        map="<results>/{dataset}/experiments/{experiment}/map.tif",
        probabilities="<results>/{dataset}/experiments/{experiment}/map-probabilities.tif",
    log:
        "<results>/{dataset}/logs/map_scene/{experiment}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/map_scene/{experiment}.tsv"
    conda:
        TRAINING_ENVIRONMENT
    threads: 2
    resources:
        mem_mb=grown(3000),
        runtime=30,
        gpu=TRAINING_GPUS,
    params:
        flips=flips_of_experiment,
        code=code("olr.maps"),
    message:
        "Mapping a scene with {wildcards.experiment}"
    script:
        "../workflow_scripts/olr/map_scene.py"
