"""Read a container definition (Apptainer), and run its sections in a plain root folder.

Apptainer itself is in few distributions. What a definition does is plain: files are copied, a shell script is run in the
root, another one tests it. This does the same with `chroot`, so that a definition is checked wherever there is root.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECTION = re.compile(r"^%(\w+)[ \t]*$", flags=re.M)


@dataclass(frozen=True)
class Definition:
    """A container definition.

    Attributes:
        header: Keywords above the sections, such as `Bootstrap` and `From`.
        sections: Text of the sections by name, without the percent sign.
    """

    header: dict[str, str]
    sections: dict[str, str]

    @property
    def copies(self) -> list[tuple[str, str]]:
        """Source and target of `%files`."""
        lines = (line.split() for line in self.sections["files"].splitlines() if line.strip())
        return [(source, target) for source, target in lines]


def read_definition(file: Path) -> Definition:
    """Read a definition."""
    head, *parts = SECTION.split(file.read_text(encoding="utf-8"))
    pairs = re.findall(r"^(\w+):[ \t]*(\S.*)$", head, flags=re.M)
    return Definition(dict(pairs), dict(zip(parts[::2], parts[1::2], strict=True)))


@dataclass(frozen=True)
class Root:
    """A root folder that a definition is run in.

    Attributes:
        folder: The root.
        shared: Folders of the machine that are seen at the same place inside, such as caches.
    """

    folder: Path
    shared: Sequence[Path] = ()

    def copy(self, checkout: Path, definition: Definition) -> None:
        """Do what `%files` says: copy from the checkout into the root."""
        for source, target in definition.copies:
            file, place = checkout / source, self.folder / target.lstrip("/")
            if target.endswith("/"):
                place = place / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            if file.is_dir():
                shutil.copytree(file, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(file, place)

    def run(
        self, script: str, *, timeout: float, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a section inside the root; its mounts end with it."""
        mounts = ["mount -t proc proc {root}/proc"]
        mounts += [f"mkdir -p {{root}}{p} && mount --bind {p} {{root}}{p}" for p in self.shared]
        outer = " && ".join(line.format(root=self.folder) for line in mounts)
        outer += f' && exec chroot {self.folder} /bin/sh -c "$SECTION"'
        return subprocess.run(
            ["unshare", "--mount", "/bin/sh", "-c", outer],
            env={**os.environ, "HOME": "/root", "SECTION": script, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
