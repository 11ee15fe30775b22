"""The metadata of an archive: a Provenance Run Crate, which is a Workflow Run Crate with one action per job.

Profiles: https://w3id.org/ro/wfrun/provenance/0.5, https://w3id.org/ro/wfrun/workflow/0.5,
https://w3id.org/ro/wfrun/process/0.5 and https://w3id.org/workflowhub/workflow-ro-crate/1.0 on RO-Crate 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rocrate.model.computerlanguage import snakemake as snakemake_language
from rocrate.model.contextentity import ContextEntity
from rocrate.model.dataset import Dataset
from rocrate.model.entity import Entity
from rocrate.model.file import File
from rocrate.rocrate import ROCrate

from geolatents.archive.citation import Citation
from geolatents.archive.contents import CODE
from geolatents.archive.layout import README
from geolatents.archive.run import JobRecord, Run
from geolatents.archive.writer import Written
from geolatents.files import Json
from geolatents.settings.archive import ArchiveSettings

RUN_TERMS = "https://w3id.org/ro/terms/workflow-run#"
"""Where the terms of run crates are defined that RO-Crate 1.1 lacks."""

WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
BIOSCHEMAS = "https://bioschemas.org/profiles"
UNITS = "https://qudt.org/vocab/unit"

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    WORKFLOW_CRATE: "Workflow RO-Crate",
}

FORMATS = {
    ".cff": "application/yaml",
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".keras": "application/zip",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".tif": "image/tiff; application=geotiff",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
}

CONFIG = "config.yaml"


@dataclass(frozen=True)
class Contents:
    """What the metadata describes.

    Attributes:
        run: The run.
        files: Files of the archive by name.
        identities: Identity of each artifact by public name.
        left_out: Artifacts that stayed out, and why.
        citation: Who made the software.
        settings: Title, licence and authors of the archive.
        title: Title where the settings give none.
    """

    run: Run
    files: Mapping[str, Written]
    identities: Mapping[str, str]
    left_out: Mapping[str, str]
    citation: Citation
    settings: ArchiveSettings
    title: str


def metadata(contents: Contents) -> Json:
    """The content of ``ro-crate-metadata.json``."""
    return _Builder(contents).build()


class _Builder:
    """Builds the graph of one archive; an entity that several others name is made once."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.run = contents.run
        self.crate = ROCrate(version="1.1")
        self.crate.metadata.extra_terms = {
            name: RUN_TERMS + name for name in ("sha256", "resourceUsage")
        }
        self._artifacts: dict[str, Entity] = {}

    def build(self) -> Json:
        self._describe_root()
        for name in sorted(self.contents.files):
            if self._store_of(name) is None and name not in self._tools_by_file:
                self._artifacts[name] = self._add_file(name)
        self._add_stores()
        self._add_workflow()
        self._add_run()
        self._artifacts[README]["about"] = self.crate.root_dataset
        content = self.crate.metadata.generate()
        return content | {"@graph": [_single_values(entity) for entity in content["@graph"]]}

    # ---- the archive as a whole

    def _describe_root(self) -> None:
        settings, citation = self.contents.settings, self.contents.citation
        ended = max(job.ended for job in self.run.jobs)
        authors = [self._person(name) for name in settings.authors or citation.authors]
        root = self.crate.root_dataset
        root["name"] = settings.title or self.contents.title
        root["description"] = (
            "A finished run of the geolatents workflow: results, configuration, code, and how each artifact was made. "
            "README.md says how to check it; manifest-sha256.txt names every file."
        )
        root["datePublished"] = ended  # not when it was packed: equal runs are packed equally
        root["license"] = self._licence(settings.licence or citation.licence)
        root["author"] = authors
        root["keywords"] = ", ".join(citation.keywords)
        root["citation"] = [
            self._context(f"https://doi.org/{doi}", "ScholarlyArticle", name=title)
            for title, doi in citation.references
        ]
        root["conformsTo"] = [
            self._context(address, "CreativeWork", name=name, version=address.rsplit("/", 1)[1])
            for address, name in PROFILES.items()
        ]
        self.crate.metadata["conformsTo"] = [
            {"@id": self.crate.metadata.profile},
            {"@id": WORKFLOW_CRATE},
        ]

    def _person(self, name: str) -> Entity:
        kind = "Organization" if name.lower().startswith("the ") else "Person"
        return self._context(f"#author/{_key(name)}", kind, name=name)

    def _licence(self, licence: str) -> Entity:
        address = licence if "://" in licence else f"https://spdx.org/licenses/{licence}"
        return self._context(address, "CreativeWork", name=licence, identifier=address)

    # ---- files and artifacts

    def _add_file(self, file: str, **more: Any) -> Entity:
        written = self.contents.files[file]
        properties: dict[str, Any] = {
            "name": file,
            "contentSize": str(written.bytes),
            "sha256": written.sha256,
            "encodingFormat": FORMATS.get(Path(file).suffix, "application/octet-stream"),
        }
        if file in self.contents.identities:
            properties["identifier"] = _identifier(self.contents.identities[file])
        return self.crate.add(File(self.crate, dest_path=file, properties=properties | more))

    def _add_stores(self) -> None:
        """Folders that a rule makes are described as a whole; their files stand in the list of hashes."""
        for name, identity in self.contents.identities.items():
            if name in self._artifacts:
                continue
            about = {"name": name, "identifier": _identifier(identity)}
            if name in self.contents.left_out:
                about["description"] = f"Not in the archive: {self.contents.left_out[name]}."
                self._artifacts[name] = self._context(f"#left-out/{name}", "CreativeWork", **about)
            else:
                self._artifacts[name] = self.crate.add(
                    Dataset(self.crate, dest_path=f"{name}/", properties=about)
                )

    def _store_of(self, name: str) -> str | None:
        """The folder that a rule made and that a file lies in."""
        parents = (parent.as_posix() for parent in Path(name).parents)
        return next((parent for parent in parents if parent in self.contents.identities), None)

    # ---- the workflow and its tools

    @cached_property
    def _tools(self) -> dict[str, str]:
        """Script of each rule that ran."""
        scripts = {
            Path(n).stem: n
            for n in self.contents.files
            if n.startswith(f"{CODE}/workflow_scripts/")
        }
        return {job.rule: scripts[job.rule] for job in self.run.jobs if job.rule in scripts}

    @cached_property
    def _tools_by_file(self) -> set[str]:
        return {*self._tools.values(), f"{CODE}/Snakefile"}

    def _add_workflow(self) -> None:
        citation = self.contents.citation
        language = self.crate.add(snakemake_language(self.crate, version=self._snakemake))
        tools = [
            self._add_file(
                file,
                **{
                    "@type": ["File", "SoftwareSourceCode"],
                    "name": rule,
                    "programmingLanguage": "Python",
                    "version": citation.version,
                },
            )
            for rule, file in sorted(self._tools.items())
        ]
        self._tool = dict(zip(sorted(self._tools), tools, strict=True))
        self._steps = {
            rule: self._context(
                f"#step/{rule}", "HowToStep", name=rule, position=str(place), workExample=tool
            )
            for place, (rule, tool) in enumerate(self._tool.items(), 1)
        }
        self._workflow = self._add_file(
            f"{CODE}/Snakefile",
            **{
                "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
                "name": citation.title,
                "version": citation.version,
                "conformsTo": {"@id": f"{BIOSCHEMAS}/ComputationalWorkflow/1.0-RELEASE"},
                "programmingLanguage": _ref(language),
                "hasPart": [_ref(tool) for tool in tools],
                "step": [_ref(step) for step in self._steps.values()],
                "license": _ref(self._licence(citation.licence)),
                "author": [_ref(self._person(name)) for name in citation.authors],
            },
        )
        self.crate.mainEntity = self._workflow

    @property
    def _snakemake(self) -> str:
        versions = {job.record.get("libraries", {}).get("snakemake") for job in self.run.jobs}
        return ", ".join(sorted(filter(None, versions)))

    # ---- the run

    def _add_run(self) -> None:
        run = self.run
        inputs, results = self._slots()
        action = self._action(
            "#run",
            f"The run of {len(run.jobs)} jobs",
            self._workflow,
            inputs,
            [self._artifacts[name] for name in run.targets],
            min(job.started for job in run.jobs),
            max(job.ended for job in run.jobs),
        )
        jobs = [self._job(number, job) for number, job in enumerate(run.jobs, 1)]
        organised = self._order_of_jobs(action)
        collections = [one for one in (*inputs, results) if one.type == "Collection"]
        self.crate.root_dataset["mentions"] = [action, organised, *jobs, *collections]

    def _slots(self) -> tuple[list[Entity], Entity]:
        """What went into the run and what came out, each as an example of a parameter of the workflow."""
        config = self._artifacts[CONFIG]
        inputs = [config]
        slots = [self._parameter("config", "File", config, "The resolved configuration")]
        if self.run.foreign:
            files = [self._foreign_file(name, found) for name, found in self.run.foreign.items()]
            text = "Files from outside, which the archive does not hold"
            foreign = self._context("#foreign", "Collection", name=text, hasPart=files)
            inputs.append(foreign)
            slots.append(self._parameter("foreign", "Collection", foreign, text))
        asked = [self._artifacts[name] for name in self.run.targets]
        results = self._context("#results", "Collection", name="What was asked for", hasPart=asked)
        self._workflow["input"] = slots
        self._workflow["output"] = [
            self._parameter("results", "Collection", results, "What was asked for")
        ]
        return inputs, results

    def _order_of_jobs(self, action: Entity) -> Entity:
        """How the engine carried out the steps of the workflow."""
        engine = self._context(
            "#snakemake", "SoftwareApplication", name="Snakemake",
            url="https://snakemake.github.io", softwareVersion=self._snakemake,
        )  # fmt: skip
        controls = [
            self._context(
                f"#control/{number}", "ControlAction", name=f"Start of {job.name}",
                instrument=self._steps[job.rule], object=self._context(f"#job/{number}", "CreateAction"),
            )
            for number, job in enumerate(self.run.jobs, 1)
            if job.rule in self._steps
        ]  # fmt: skip
        return self._context(
            "#organised", "OrganizeAction", name="Order of the jobs",
            instrument=engine, object=controls, result=action,
        )  # fmt: skip

    def _job(self, number: int, job: JobRecord) -> Entity:
        record = job.record
        inputs = [
            self._artifacts[name] if name in self._artifacts else self._foreign_file(name, found)
            for name, found in job.inputs.items()
        ]
        usage = [
            self._context(
                f"#job/{number}/{key}", "PropertyValue", name=key,
                propertyID=f"#usage/{key}", value=str(record[key]),
                unitCode=f"{UNITS}/{unit}",
            )
            for key, unit in (("seconds", "SEC"), ("peak_memory_mb", "MegaBYTE"))
            if key in record
        ]  # fmt: skip
        return self._action(
            f"#job/{number}",
            job.name,
            self._tool.get(job.rule, self._workflow),
            inputs,
            [self._artifacts[name] for name in job.outputs],
            job.started,
            job.ended,
            resourceUsage=usage,
        )

    def _action(
        self,
        key: str,
        name: str,
        instrument: Entity,
        inputs: Sequence[Entity],
        results: Sequence[Entity],
        started: str,
        ended: str,
        **more: Any,
    ) -> Entity:
        return self._context(
            key, "CreateAction", name=name, description=f"{name}, {started} to {ended}", instrument=instrument, object=list(inputs), result=list(results),
            startTime=started, endTime=ended, actionStatus="http://schema.org/CompletedActionStatus", **more,
        )  # fmt: skip

    def _parameter(self, key: str, kind: str, example: Entity, text: str) -> Entity:
        parameter = self._context(
            f"#parameter/{key}", "FormalParameter", name=key, description=text, additionalType=kind,
            workExample=example, conformsTo={"@id": f"{BIOSCHEMAS}/FormalParameter/1.0-RELEASE"},
        )  # fmt: skip
        example["exampleOfWork"] = parameter
        return parameter

    def _foreign_file(self, name: str, sha256: str | None) -> Entity:
        about: dict[str, Any] = {"name": name}
        if sha256:
            about["sha256"] = sha256
        return self._context(f"#foreign/{name}", "CreativeWork", **about)

    def _context(self, key: str, kind: str, **properties: Any) -> Entity:
        """The entity with this identifier; made with these properties where it is new."""
        known: Entity | None = self.crate.get(key)
        if known is not None:
            return known
        plain = {name: _ref(value) for name, value in properties.items()}
        return self.crate.add(ContextEntity(self.crate, key, {"@type": kind, **plain}))


def _ref(value: Any) -> Any:
    if isinstance(value, Entity):
        return {"@id": value.id}
    return [_ref(one) for one in value] if isinstance(value, list) else value


def _single_values(entity: Json) -> Json:
    """An entity whose lists of one value are that value, as RO-Crate recommends."""
    return {
        key: value[0] if isinstance(value, list) and len(value) == 1 else value
        for key, value in entity.items()
    }


def _identifier(identity: str) -> str:
    return f"urn:sha-256:{identity}"


def _key(name: str) -> str:
    return "-".join(name.lower().split())
