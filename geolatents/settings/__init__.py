"""Typed configuration, one module per section. Import a section from its own module.

This file stays empty of imports, so that the code fingerprint of a rule follows only the sections it reads.
"""
