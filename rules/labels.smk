# Land cover becomes cover, label sets and co-occurrence.


rule measure_cover:
    """Measure the exact share of every class in every tile of a scene."""
    input:
        tiles="<results>/{dataset}/tiles/{scene}.json",
        landcover="<results>/{dataset}/landcover.parquet",
    output:
        store=directory("<results>/{dataset}/cover/{scene}.zarr"),
        manifest="<results>/{dataset}/cover/{scene}.json",
    log:
        "<results>/{dataset}/logs/measure_cover/{scene}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/measure_cover/{scene}.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.with_scenes()),
    conda:
        "../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=grown(2000),
        runtime=30,
    params:
        code=code("labels.cover"),
    message:
        "Measuring land cover of {wildcards.scene} of {wildcards.dataset}"
    script:
        "../workflow_scripts/labels/measure_cover.py"


rule check_labels:
    """Check that a label set can be made: mapping complete, tiles and classes left."""
    input:
        mapping=mapping_input,
        covers=cover_manifests,
    output:
        "<results>/{dataset}/checks/labels-{labels}.json",
    log:
        "<results>/{dataset}/logs/check_labels/{labels}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/check_labels/{labels}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=10,
    params:
        config=section("datasets/{dataset}/labels/{labels}"),
        source=mapping_content,
        code=code("labels.sets"),
    message:
        "Checking label set {wildcards.labels} of {wildcards.dataset}"
    script:
        "../workflow_scripts/labels/check_labels.py"


rule make_label_set:
    """Derive a label set from cover."""
    input:
        mapping=mapping_input,
        covers=cover_manifests,
        check="<results>/{dataset}/checks/labels-{labels}.json",
    output:
        store=directory("<results>/{dataset}/labels/{labels}.zarr"),
        manifest="<results>/{dataset}/labels/{labels}.json",
    log:
        "<results>/{dataset}/logs/make_label_set/{labels}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/make_label_set/{labels}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=10,
    params:
        config=section("datasets/{dataset}/labels/{labels}"),
        source=mapping_content,
        code=code("labels.sets"),
    message:
        "Making label set {wildcards.labels} of {wildcards.dataset}"
    script:
        "../workflow_scripts/labels/make_label_set.py"


rule measure_cooccurrence:
    """Count which labels occur together, per part of a split."""
    input:
        labels="<results>/{dataset}/labels/{labels}.json",
        split="<results>/{dataset}/splits/{split}.json",
    output:
        "<results>/{dataset}/labels/{labels}/cooccurrence-{split}.json",
    log:
        "<results>/{dataset}/logs/measure_cooccurrence/{labels}-{split}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/measure_cooccurrence/{labels}-{split}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=10,
    params:
        code=code("labels.cooccurrence"),
    message:
        "Measuring co-occurrence of {wildcards.labels} of {wildcards.dataset}"
    script:
        "../workflow_scripts/labels/measure_cooccurrence.py"


rule draw_cooccurrence:
    """Draw which labels occur together."""
    input:
        "<results>/{dataset}/labels/{labels}/cooccurrence-{split}.json",
    output:
        report(
            "<results>/{dataset}/labels/{labels}/cooccurrence-{split}.png",
            caption="../docs/captions/cooccurrence.rst",
            category="4. Labels",
            subcategory="{dataset}",
            labels={
                "label set": "{labels}",
                "split": "{split}",
                "shows": "co-occurrence",
            },
        ),
    log:
        "<results>/{dataset}/logs/draw_cooccurrence/{labels}-{split}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/draw_cooccurrence/{labels}-{split}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        figures=section("figures"),
        code=code("labels.figures"),
    message:
        "Drawing co-occurrence of {wildcards.labels} of {wildcards.dataset}"
    script:
        "../workflow_scripts/labels/draw_cooccurrence.py"
