# Scenes, land cover and photos: search and download them, or draw or find them; check them, record them.
# Rules that need the internet are local rules: compute nodes have none. What they download lies outside the
# results (docs/decisions/downloads-are-not-outputs.md); their outputs are small records of it. A record says what
# came from outside, whatever code fetched it, so these rules have no param `code`: a mended fetcher trains nothing anew.


rule search:
    """Ask providers for scenes and photos; lists of an unchanged search are kept."""
    log:
        "<results>/logs/search.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=720,
    params:
        searches=PLAN.search_requests(),
    message:
        "Searching for scenes and photos"
    script:
        "../workflow_scripts/acquire/search.py"


rule preview:
    """Say what would be downloaded, in how many requests and bytes; asks no service."""
    log:
        "<results>/logs/preview.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=60,
    params:
        downloads=download_requests,
    message:
        "Listing what would be downloaded"
    script:
        "../workflow_scripts/acquire/preview.py"


rule check_search:
    """Stop where the list of a search is missing or of another search; planned only then, and never succeeds."""
    input:
        search_list,
    output:
        "<results>/{name}/checks/search.json",
    log:
        "<results>/{name}/logs/check_search.log",
    benchmark:
        "<results>/{name}/benchmarks/check_search.tsv"
    wildcard_constraints:
        name=pattern(name for name, _ in PLAN.searches.sections()),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        list=search_file,
        search=search_settings,
        code=code("acquire.scene_list"),
    message:
        "Checking the list of {wildcards.name}"
    script:
        "../workflow_scripts/acquire/check_search.py"


rule download_scene:
    """Download the files of one scene; the output is their record."""
    input:
        missing_list,
    output:
        "<results>/{dataset}/downloads/{scene}.json",
    log:
        "<results>/{dataset}/logs/download_scene/{scene}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/download_scene/{scene}.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.downloaded()),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=720,
        downloads=1,
    params:
        provider=provider,
        item=scene_item,
        product=section("datasets/{dataset}/imagery/product"),
        service=unwatched(section("datasets/{dataset}/imagery/service")),
    message:
        "Downloading scene {wildcards.scene} of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/download_scene.py"


rule assemble_scene:
    """Assemble one scene from its downloaded files."""
    input:
        "<results>/{dataset}/downloads/{scene}.json",
    output:
        "<results>/{dataset}/scenes/{scene}.tif",
    log:
        "<results>/{dataset}/logs/assemble_scene/{scene}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/assemble_scene/{scene}.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.downloaded()),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=60,
    params:
        provider=provider,
        product=section("datasets/{dataset}/imagery/product"),
        code=provider_code("acquire.scenes"),
    message:
        "Assembling scene {wildcards.scene} of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/assemble_scene.py"


rule download_landcover:
    """Download the land cover of the scenes' area; the output is its record."""
    input:
        scenes=landcover_scenes,
    output:
        "<results>/{dataset}/downloads/landcover.json",
    log:
        "<results>/{dataset}/logs/download_landcover.log",
    benchmark:
        "<results>/{dataset}/benchmarks/download_landcover.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.with_landcover("corine")),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=720,
        downloads=1,
    params:
        product=section("datasets/{dataset}/landcover/product"),
        service=unwatched(section("datasets/{dataset}/landcover/service")),
        area=landcover_area,
    message:
        "Downloading the land cover of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/download_landcover.py"


rule combine_landcover:
    """Combine the downloaded pages of land cover into one layer."""
    input:
        "<results>/{dataset}/downloads/landcover.json",
    output:
        "<results>/{dataset}/source/landcover.parquet",
    log:
        "<results>/{dataset}/logs/combine_landcover.log",
    benchmark:
        "<results>/{dataset}/benchmarks/combine_landcover.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.with_landcover("corine")),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(4000),
        runtime=60,
    params:
        product=section("datasets/{dataset}/landcover/product"),
        code=code("acquire.landcover.download"),
    message:
        "Combining the land cover of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/combine_landcover.py"


rule download_archive:
    """Download a published dataset; the output is the record of its files."""
    output:
        "<results>/{dataset}/downloads/archive.json",
    log:
        "<results>/{dataset}/logs/download_archive.log",
    benchmark:
        "<results>/{dataset}/benchmarks/download_archive.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.archived()),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=1440,
        downloads=1,
    params:
        archive=archive_name,
        service=unwatched(section("datasets/{dataset}/imagery/service")),
    message:
        "Downloading the archive of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/download_archive.py"


rule download_photos:
    """Download the photos of one grid cell; the output is their record."""
    input:
        photo_table,
    output:
        "<results>/{photos}/downloads/photos/{cell}.json",
    log:
        "<results>/{photos}/logs/download_photos/{cell}.log",
    benchmark:
        "<results>/{photos}/benchmarks/download_photos/{cell}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=720,
        downloads=1,
    params:
        provider=provider,
        service=unwatched(section("photos/{photos}/source/service")),
        cell=photo_cell,
    message:
        "Downloading photos of cell {wildcards.cell} of {wildcards.photos}"
    script:
        "../workflow_scripts/acquire/download_photos.py"


rule download_maps:
    """Download a map image for each photo of one grid cell; the output is their record."""
    input:
        photo_table,
    output:
        "<results>/{photos}/downloads/maps/{cell}.json",
    log:
        "<results>/{photos}/logs/download_maps/{cell}.log",
    benchmark:
        "<results>/{photos}/benchmarks/download_maps/{cell}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=720,
        downloads=1,
    params:
        config=section("photos/{photos}/maps", ("service",)),
        service=unwatched(section("photos/{photos}/maps/service")),
        cell=photo_cell,
    message:
        "Downloading maps of cell {wildcards.cell} of {wildcards.photos}"
    script:
        "../workflow_scripts/acquire/download_maps.py"


rule join_photos:
    """Put photos and maps into two folders, and join them in one table."""
    input:
        table=photo_table,
        photos=photo_records,
        maps=map_records,
    output:
        table="<results>/{photos}/photos.parquet",
        photos=directory("<results>/{photos}/photos"),
        maps=directory("<results>/{photos}/maps"),
    log:
        "<results>/{photos}/logs/join_photos.log",
    benchmark:
        "<results>/{photos}/benchmarks/join_photos.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=60,
    params:
        code=code("acquire.photos.join"),
    message:
        "Joining photos and maps of {wildcards.photos}"
    script:
        "../workflow_scripts/acquire/join_photos.py"


rule draw_scene:
    """Draw one scene of the demo country."""
    output:
        "<results>/{dataset}/scenes/{scene}.tif",
    log:
        "<results>/{dataset}/logs/draw_scene/{scene}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/draw_scene/{scene}.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.datasets("synthetic")),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=10,
    params:
        config=section("datasets/{dataset}/imagery"),
        code=code("acquire.synthetic.scenes"),
    message:
        "Drawing scene {wildcards.scene} of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/draw_scene.py"


rule draw_landcover:
    """Draw the land cover of the demo country."""
    output:
        "<results>/{dataset}/source/landcover.parquet",
    log:
        "<results>/{dataset}/logs/draw_landcover.log",
    benchmark:
        "<results>/{dataset}/benchmarks/draw_landcover.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.datasets("synthetic")),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=10,
    params:
        config=section("datasets/{dataset}/imagery"),
        code=code("acquire.synthetic.polygons"),
    message:
        "Drawing the land cover of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/draw_landcover.py"


rule check_scene:
    """Decode one scene whole, before anything that was built from it is removed."""
    input:
        file=scene_file,
    output:
        "<results>/{dataset}/checks/scenes/{scene}.json",
    log:
        "<results>/{dataset}/logs/check_scene/{scene}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/check_scene/{scene}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=30,
    params:
        imagery=scene_imagery,
        tiles=section("datasets/{dataset}/tiles"),
        source=scene_content,
        code=code("tiles.check"),
    message:
        "Checking scene {wildcards.scene} of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/check_scene.py"


rule check_scenes:
    """Check that the scenes of a dataset fit together and leave tiles."""
    input:
        scene_checks,
    output:
        common="<results>/{dataset}/checks/scenes.json",
        warnings="<results>/{dataset}/checks/warnings.json",
    log:
        "<results>/{dataset}/logs/check_scenes.log",
    benchmark:
        "<results>/{dataset}/benchmarks/check_scenes.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        landcover=section("datasets/{dataset}/landcover", ("service",)),
        tiles=section("datasets/{dataset}/tiles"),
        code=code("tiles.check"),
    message:
        "Checking that the scenes of {wildcards.dataset} fit together"
    script:
        "../workflow_scripts/acquire/check_scenes.py"


rule record_scene:
    """Write the small record through which a scene enters everything below."""
    input:
        check="<results>/{dataset}/checks/scenes/{scene}.json",
    output:
        "<results>/{dataset}/scenes/{scene}.json",
    log:
        "<results>/{dataset}/logs/record_scene/{scene}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/record_scene/{scene}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        code=code("tiles.check"),
    message:
        "Recording scene {wildcards.scene} of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/record_scene.py"


rule check_landcover:
    """Check codes, polygons and overlap of the land cover, before anything is removed."""
    input:
        files=landcover_input,
        scenes=scene_records,
    output:
        "<results>/{dataset}/checks/landcover.json",
    log:
        "<results>/{dataset}/logs/check_landcover.log",
    benchmark:
        "<results>/{dataset}/benchmarks/check_landcover.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(4000),
        runtime=30,
    params:
        config=section("datasets/{dataset}/landcover", ("service",)),
        source=landcover_content,
        code=code("acquire.landcover.read"),
    message:
        "Checking the land cover of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/check_landcover.py"


rule read_landcover:
    """Read the land cover of the scenes' area into polygons with official codes."""
    input:
        files=landcover_input,
        scenes=scene_records,
        check="<results>/{dataset}/checks/landcover.json",
    output:
        "<results>/{dataset}/landcover.parquet",
    log:
        "<results>/{dataset}/logs/read_landcover.log",
    benchmark:
        "<results>/{dataset}/benchmarks/read_landcover.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(4000),
        runtime=30,
    params:
        config=section("datasets/{dataset}/landcover", ("service",)),
        source=landcover_content,
        code=code("acquire.landcover.read"),
    message:
        "Reading the land cover of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/read_landcover.py"
