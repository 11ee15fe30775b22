"""Check a crate against the profiles of RO-Crate without the network."""

from __future__ import annotations

import io
import json
from pathlib import Path

import requests
import requests_cache
import rocrate
import urllib3
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
BIOSCHEMAS = "https://bioschemas.org"
TERMS_OF_1_1 = {
    "ComputationalWorkflow": f"{BIOSCHEMAS}/ComputationalWorkflow",
    "FormalParameter": f"{BIOSCHEMAS}/FormalParameter",
    "input": f"{BIOSCHEMAS}/ComputationalWorkflow#input",
    "output": f"{BIOSCHEMAS}/ComputationalWorkflow#output",
}
"""Terms that the context of RO-Crate 1.3, which the rocrate package brings along, spells in another way."""


def problems(archive: Path, folder: Path, profile: str = "provenance-run-crate") -> list[str]:
    """What a profile and all that it builds on require and an archive lacks.

    Args:
        archive: Zip or folder.
        folder: An empty folder for the validator's cache of web pages, which here holds the one it needs.
        profile: Name of the profile.
    """
    _put_into_cache(folder / "pages")
    result = services.validate(
        ValidationSettings(
            rocrate_uri=str(archive),  # type: ignore[arg-type]
            profile_identifier=profile,
            requirement_severity=Severity.REQUIRED,
            offline=True,
            cache_path=folder / "pages",
            disable_remote_crate_download=False,
        )
    )
    assert len(result.executed_checks) > 50, "the validator skipped its checks"
    found = [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]
    assert result.passed() is not bool(found)
    return found


def _put_into_cache(file: Path) -> None:
    bundled = json.loads((Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_text())
    bundled["@context"] |= TERMS_OF_1_1
    content, headers = json.dumps(bundled).encode(), {"Content-Type": "application/ld+json"}
    answer = requests.Response()
    answer.status_code = 200
    answer.request = requests.Request("GET", CONTEXT).prepare()
    answer.url = CONTEXT
    answer.headers.update(headers)
    answer.raw = urllib3.HTTPResponse(io.BytesIO(content), headers, 200, preload_content=False)
    answer._content = content
    with requests_cache.CachedSession(str(file), backend="sqlite", expire_after=-1) as session:
        session.cache.save_response(answer)
