# Path and parameter helpers of all rules; the logic is in geolatents/workflow.py.


def grown(mem_mb):
    """Resource: memory that grows with the attempt, so that a job that ran out of it gets more when it is retried."""

    def resource(wildcards, attempt):
        return mem_mb * attempt

    return resource


def section(path, leave_out=()):
    """Param: one section of the configuration as canonical JSON; `path` may hold wildcards."""

    def param(wildcards):
        return PLAN.section(path.format(**dict(wildcards.items())), leave_out)

    return param


# Foreign files are `ancient`: their content comes in as a param, so their clocks do not matter. What a rule of
# this workflow makes is never `ancient`: Snakemake would not look at the jobs below it.


def scene_file(wildcards):
    """Input: the raster of a scene, made here or foreign."""
    if wildcards.dataset in PLAN.searches.missing:
        return missing_list(wildcards)
    file = str(PLAN.scene_file(wildcards.dataset, wildcards.scene))
    return file if PLAN.makes_scenes(wildcards.dataset) else ancient(file)


def scene_imagery(wildcards):
    """Param: imagery settings as the check of a scene sees them."""
    return PLAN.scene_imagery(wildcards.dataset)


def scene_content(wildcards):
    """Param: content of a scene's foreign files; none where it is made here."""
    if PLAN.makes_scenes(wildcards.dataset):
        return ""
    return PLAN.source_hash(PLAN.scene_sources(wildcards.dataset, wildcards.scene))


def missing_list(wildcards):
    """Input: where the list of a dataset's scenes is missing, the check that says so, and nothing else."""
    missing = wildcards.dataset in PLAN.searches.missing
    return [f"<results>/{wildcards.dataset}/checks/search.json"] if missing else []


def scene_records(wildcards):
    """Input: records of all scenes of a dataset."""
    return missing_list(wildcards) or expand(
        "<results>/{dataset}/scenes/{scene}.json",
        dataset=wildcards.dataset,
        scene=PLAN.scenes(wildcards.dataset),
    )


def scene_checks(wildcards):
    """Input: checks of all scenes of a dataset."""
    return missing_list(wildcards) or expand(
        "<results>/{dataset}/checks/scenes/{scene}.json",
        dataset=wildcards.dataset,
        scene=PLAN.scenes(wildcards.dataset),
    )


def landcover_input(wildcards):
    """Input: the files of a land-cover layer, made here or foreign."""
    files = [str(path) for path in PLAN.landcover_files(wildcards.dataset)]
    made = PLAN.makes_landcover(wildcards.dataset)
    return files if made else [ancient(file) for file in files]


def landcover_content(wildcards):
    """Param: content of a land-cover layer's files; none where it is made here."""
    if PLAN.makes_landcover(wildcards.dataset):
        return ""
    return PLAN.source_hash(PLAN.landcover_sources(wildcards.dataset))


def image_input(wildcards):
    """Input: an image folder's archive and label table, by content; or the record of their download."""
    if wildcards.dataset in PLAN.archived():
        return f"<results>/{wildcards.dataset}/downloads/archive.json"
    return [ancient(str(path)) for path in PLAN.image_sources(wildcards.dataset)]


def image_content(wildcards):
    """Param: content of an image folder's archive and label table."""
    return PLAN.source_hash(PLAN.image_sources(wildcards.dataset))


def archive_name(wildcards):
    """Param: the archive that a dataset's images are downloaded from."""
    return PLAN.archive(wildcards.dataset)


def download_requests(wildcards):
    """Param: everything that is downloaded, for a preview."""
    return PLAN.download_requests()


def search_list(wildcards):
    """Input: the list of a search, which may be missing."""
    file = PLAN.searches.file(wildcards.name)
    return [ancient(str(file))] if file.exists() else []


def search_file(wildcards):
    """Param: where the list of a search lies."""
    return str(PLAN.searches.file(wildcards.name))


def search_settings(wildcards):
    """Param: settings of a search."""
    return PLAN.searches.search(wildcards.name)


def scene_item(wildcards):
    """Param: a scene's entry in the list of its search."""
    return PLAN.scene_item(wildcards.dataset, wildcards.scene)


def provider(wildcards):
    """Param: provider of a dataset or photo set."""
    return PLAN.provider(wildcards.get("dataset") or wildcards.photos)


def provider_code(*modules):
    """Param: fingerprint of library modules and of the provider's own module."""

    def param(wildcards):
        return code(*modules, f"acquire.{provider(wildcards)}.provider")

    return param


def landcover_area(wildcards):
    """Param: area of downloaded land cover, where the list of scenes gives it."""
    return PLAN.landcover_area(wildcards.dataset)


def landcover_scenes(wildcards):
    """Input: records of the scenes that land cover is downloaded for, where no list gives their area."""
    return [] if landcover_area(wildcards) else scene_records(wildcards)


def photo_cell(wildcards):
    """Param: what identifies the photos of a grid cell."""
    return PLAN.searches.cells[wildcards.photos][wildcards.cell]


def photo_table(wildcards):
    """Input: photos that a search found; each cell's content comes in as a param."""
    return ancient(str(PLAN.searches.file(wildcards.photos).with_suffix(".parquet")))


def photo_records(wildcards):
    """Input: records of the downloaded photos of all cells."""
    return _cells(wildcards.photos, "photos")


def map_records(wildcards):
    """Input: records of the downloaded maps of all cells, where maps are wanted."""
    wanted = wildcards.photos in PLAN.mapped()
    return _cells(wildcards.photos, "maps") if wanted else []


def _cells(photos, kind):
    return [
        f"<results>/{photos}/downloads/{kind}/{cell}.json"
        for cell in PLAN.cells(photos)
    ]


def scenes_check(wildcards):
    """Input: the check of all scenes together, where there are scenes."""
    if wildcards.dataset in PLAN.datasets("images"):
        return []
    return f"<results>/{wildcards.dataset}/checks/scenes.json"


def tile_manifests(wildcards):
    """Input: manifests of all tile stores of a dataset."""
    return missing_list(wildcards) or _manifests(
        "tiles", wildcards.dataset, PLAN.scenes(wildcards.dataset)
    )


def cover_manifests(wildcards):
    """Input: manifests of all cover stores of a dataset; none without land cover."""
    return missing_list(wildcards) or _manifests(
        "cover", wildcards.dataset, PLAN.covered(wildcards.dataset)
    )


def compared_covers(wildcards):
    """Input: manifests of the cover stores that a Siamese network compares tiles by, or none."""
    by_cover = PLAN.config.models[wildcards.model].within == "cover"
    return cover_manifests(wildcards) if by_cover else []


def other_cover_manifests(wildcards):
    """Input: manifests of all cover stores of the dataset that a model is applied to."""
    return _manifests("cover", wildcards.other, PLAN.covered(wildcards.other))


def _manifests(stage, dataset, scenes):
    return expand(
        "<results>/{dataset}/{stage}/{scene}.json",
        dataset=dataset,
        stage=stage,
        scene=scenes,
    )


def mapping_input(wildcards):
    """Input: the mapping file of a combined label set."""
    return [
        ancient(str(p))
        for p in PLAN.mapping_sources(wildcards.dataset, wildcards.labels)
    ]


def mapping_content(wildcards):
    """Param: content of the mapping file of a combined label set."""
    return PLAN.source_hash(PLAN.mapping_sources(wildcards.dataset, wildcards.labels))


def scene_names(wildcards):
    """Param: scenes of a dataset in their fixed order."""
    return PLAN.scenes(wildcards.dataset)


def split_of_order(wildcards):
    """Input: the split that a batch order orders."""
    split = PLAN.config.datasets[wildcards.dataset].batches[wildcards.order].split
    return f"<results>/{wildcards.dataset}/splits/{split}.json"


def order_of_export(wildcards):
    """Input: manifest of the batch order of an export; none for `all` tiles in their own order."""
    if wildcards.order == "all":
        return []
    return [f"<results>/{wildcards.dataset}/batches/{wildcards.order}.json"]


def labels_of_model(wildcards):
    """Input: manifest of a model's label set."""
    labels = PLAN.config.classifier(wildcards.model).labels
    return f"<results>/{wildcards.dataset}/labels/{labels}.json"


def split_of_model(wildcards):
    """Input: summary of a model's split."""
    return f"<results>/{wildcards.dataset}/splits/{PLAN.split(wildcards.dataset, wildcards.model)}.json"


def order_of_model(wildcards):
    """Input: manifest of a model's batch order."""
    return f"<results>/{wildcards.dataset}/batches/{PLAN.order(wildcards.dataset, wildcards.model)}.json"


def weights_of_model(wildcards):
    """Input: the file of a model's pretrained weights; none without them, or where Keras keeps its own."""
    return [ancient(str(path)) for path in PLAN.weights_sources(wildcards.model)]


def weights_content(wildcards):
    """Param: content of the file of a model's pretrained weights."""
    return PLAN.source_hash(PLAN.weights_sources(wildcards.model))


def weights_check_of_model(wildcards):
    """Input: the check of a model's pretrained weights, which says what they are."""
    if wildcards.model not in PLAN.pretrained():
        return []
    return f"<results>/{wildcards.dataset}/checks/weights-{wildcards.model}.json"


def split_content(wildcards):
    """Param: content of the file of a listed split."""
    return PLAN.source_hash(PLAN.split_sources(wildcards.dataset, wildcards.split))


TRAINING_ENVIRONMENT = f"../envs/{PLAN.config.environment}.yaml"
TRAINING_GPUS = int(PLAN.config.environment == "gpu")


def saved_states(wildcards):
    """Param: where and how often a training saves its state."""
    return PLAN.saved_states()


def teacher_model(wildcards):
    """Input: the classifier that a Siamese network learns from, with the same seed."""
    return f"{_teacher(wildcards)}/model.keras"


def teacher_predictions(wildcards):
    """Input: predictions of that classifier."""
    return f"{_teacher(wildcards)}/predictions.zarr"


def _teacher(wildcards):
    teacher = PLAN.config.models[wildcards.model].teacher
    return f"<results>/{wildcards.dataset}/models/{teacher}/seed-{wildcards.seed}"


def teacher_section(wildcards):
    """Param: the configuration of a Siamese network's teacher."""
    return PLAN.section(
        f"models/{PLAN.config.models[wildcards.model].teacher}", ("seeds",)
    )


def teacher_predictions(wildcards):
    """Input: predictions of a Siamese network's teacher with the same seed."""
    teacher = PLAN.config.models[wildcards.model].teacher
    return f"<results>/{wildcards.dataset}/models/{teacher}/seed-{wildcards.seed}/predictions.zarr"


def labels_of_experiment(wildcards):
    """Input: manifest of the label set of an experiment's classifier."""
    labels = PLAN.config.classifier(PLAN.experiment(wildcards).classifier).labels
    return f"<results>/{wildcards.dataset}/labels/{labels}.json"


def split_of_experiment(wildcards):
    """Input: summary of the split of an experiment's classifier."""
    split = PLAN.split(wildcards.dataset, PLAN.experiment(wildcards).classifier)
    return f"<results>/{wildcards.dataset}/splits/{split}.json"


def classifier_predictions(wildcards):
    """Input: predictions of an experiment's classifier, one per seed."""
    return _of_seeds(
        wildcards, PLAN.experiment(wildcards).classifier, "predictions.zarr"
    )


def siamese_predictions(wildcards):
    """Input: predictions of an experiment's Siamese network, one per seed, or none."""
    model = PLAN.experiment(wildcards).siamese
    return _of_seeds(wildcards, model, "predictions.zarr") if model else []


def classifier_models(wildcards):
    """Input: an experiment's classifier, one per seed."""
    return _of_seeds(wildcards, PLAN.experiment(wildcards).classifier, "model.keras")


def siamese_models(wildcards):
    """Input: an experiment's Siamese network, one per seed."""
    return _of_seeds(wildcards, PLAN.experiment(wildcards).siamese, "model.keras")


def siamese_section(wildcards):
    """Param: the configuration of an experiment's Siamese network."""
    return PLAN.section(f"models/{PLAN.experiment(wildcards).siamese}")


def applied_predictions(wildcards):
    """Input: predictions of another dataset by an experiment's classifier, and by its Siamese network, if any."""
    folder = f"<results>/{wildcards.dataset}/experiments/{wildcards.experiment}/on-{wildcards.other}"
    names = ["predictions.zarr"]
    names += ["siamese-predictions.zarr"] * bool(PLAN.experiment(wildcards).siamese)
    return [f"{folder}/{name}" for name in names]


def _of_seeds(wildcards, model, file):
    folder = f"<results>/{wildcards.dataset}/models/{model}"
    return [f"{folder}/seed-{seed}/{file}" for seed in PLAN.seeds(model)]


def seeds_of_experiment(wildcards):
    """Param: seeds of an experiment's models."""
    return PLAN.seeds(PLAN.experiment(wildcards).classifier)


def flips_of_experiment(wildcards):
    """Param: whether an experiment's classifier averages its scores over flips."""
    return PLAN.config.classifier(PLAN.experiment(wildcards).classifier).test_time_flips


def other_tile_manifests(wildcards):
    """Input: manifests of all tile stores of the dataset that a model is applied to."""
    return _manifests("tiles", wildcards.other, PLAN.scenes(wildcards.other))


def mapped_tiles(wildcards):
    """Input: manifest of the tiles of the scene that an experiment maps."""
    scene = PLAN.experiment(wildcards).map_scene
    return f"<results>/{wildcards.dataset}/tiles/{scene}.json"


def proof_files(wildcards):
    """Input: everything that a proof reads."""
    return PLAN.proof_files(wildcards.proof)


def proof_entries(wildcards):
    """Param: what a proof knows of its experiments."""
    return entries_text(PLAN.proof_entries(wildcards.proof))


def study_results(wildcards):
    """Input: what the experiments of a study found."""
    return PLAN.study_results(wildcards.study)


def study_tables(wildcards):
    """Input: co-occurrence and label counts that a study draws."""
    return PLAN.study_tables(wildcards.study)


def study_settings(wildcards):
    """Param: which experiments play which parts of a study."""
    return PLAN.study(wildcards.study)


def results_root(wildcards):
    """Param: root of the results."""
    return str(PLAN.root)


def checkout(wildcards):
    """Param: folder of the Snakefile."""
    return workflow.basedir
