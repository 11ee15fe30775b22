"""Names of an archive's own files."""

METADATA = "ro-crate-metadata.json"
"""What the archive is, for machines."""

MANIFEST = "manifest-sha256.txt"
"""Hash of every other file, in the form of ``sha256sum``."""

IDENTITIES = "identities.json"
"""Identity of every artifact by its content."""

INPUTS = "inputs.json"
"""Files from outside that the run was made from; none of them is in the archive."""

README = "README.md"
"""What the archive is, for people."""

LISTS = "searches"
"""Folder of the lists of scenes that searches found, as in the configuration of an archive."""
