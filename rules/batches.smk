# Splits, batch orders and their label counts.


rule check_split:
    """Check that a split can be made."""
    input:
        summary="<results>/{dataset}/tiles.json",
    output:
        "<results>/{dataset}/checks/split-{split}.json",
    log:
        "<results>/{dataset}/logs/check_split/{split}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/check_split/{split}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=10,
    params:
        config=section("datasets/{dataset}/splits/{split}"),
        source=split_content,
        code=code("batches.splits"),
    message:
        "Checking split {wildcards.split} of {wildcards.dataset}"
    script:
        "../workflow_scripts/batches/check_split.py"


rule make_split:
    """Assign every tile of a dataset to train, validation, test or the buffer between them."""
    input:
        summary="<results>/{dataset}/tiles.json",
        covers=cover_manifests,
        check="<results>/{dataset}/checks/split-{split}.json",
    output:
        table="<results>/{dataset}/splits/{split}.parquet",
        summary="<results>/{dataset}/splits/{split}.json",
    log:
        "<results>/{dataset}/logs/make_split/{split}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/make_split/{split}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=30,
    params:
        config=section("datasets/{dataset}/splits/{split}"),
        source=split_content,
        code=code("batches.splits"),
    message:
        "Splitting {wildcards.dataset} by {wildcards.split}"
    script:
        "../workflow_scripts/batches/make_split.py"


rule make_order:
    """Order the training tiles into batches."""
    input:
        summary="<results>/{dataset}/tiles.json",
        split=split_of_order,
    output:
        store=directory("<results>/{dataset}/batches/{order}.zarr"),
        manifest="<results>/{dataset}/batches/{order}.json",
    log:
        "<results>/{dataset}/logs/make_order/{order}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/make_order/{order}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=10,
    params:
        config=section("datasets/{dataset}/batches/{order}"),
        code=code("batches.orders"),
    message:
        "Ordering the batches {wildcards.order} of {wildcards.dataset}"
    script:
        "../workflow_scripts/batches/make_order.py"


rule count_labels:
    """Count the labels of every batch."""
    input:
        order="<results>/{dataset}/batches/{order}.json",
        labels="<results>/{dataset}/labels/{labels}.json",
    output:
        "<results>/{dataset}/batches/{order}/{labels}-counts.csv",
    log:
        "<results>/{dataset}/logs/count_labels/{order}-{labels}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/count_labels/{order}-{labels}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=10,
    params:
        code=code("batches.counts"),
    message:
        "Counting labels of {wildcards.labels} in the batches {wildcards.order} of {wildcards.dataset}"
    script:
        "../workflow_scripts/batches/count_labels.py"


rule draw_counts:
    """Draw the labels of every batch."""
    input:
        table="<results>/{dataset}/batches/{order}/{labels}-counts.csv",
        order="<results>/{dataset}/batches/{order}.json",
        labels="<results>/{dataset}/labels/{labels}.json",
    output:
        report(
            "<results>/{dataset}/batches/{order}/{labels}-counts.png",
            caption="../docs/captions/counts.rst",
            category="5. Batches",
            subcategory="{dataset}",
            labels={
                "order": "{order}",
                "label set": "{labels}",
                "shows": "labels per batch",
            },
        ),
    log:
        "<results>/{dataset}/logs/draw_counts/{order}-{labels}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/draw_counts/{order}-{labels}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        figures=section("figures"),
        code=code("batches.figures"),
    message:
        "Drawing labels of {wildcards.labels} in the batches {wildcards.order} of {wildcards.dataset}"
    script:
        "../workflow_scripts/batches/draw_counts.py"


rule export_legacy:
    """Write a dataset in the predecessor's layout, 0.npy, labels0.npy, ...; asked for by path."""
    input:
        tiles=tile_manifests,
        labels="<results>/{dataset}/labels/{labels}.json",
        order=order_of_export,
    output:
        directory("<results>/{dataset}/legacy/{order}-{labels}"),
    log:
        "<results>/{dataset}/logs/export_legacy/{order}-{labels}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/export_legacy/{order}-{labels}.tsv"
    wildcard_constraints:
        order=pattern({"all", *PLAN.names("batches")}),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=30,
    params:
        code=code("batches.legacy"),
    message:
        "Exporting {wildcards.dataset} with labels {wildcards.labels} in the order {wildcards.order}"
    script:
        "../workflow_scripts/batches/export_legacy.py"
