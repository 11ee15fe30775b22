"""Providers of imagery and land cover."""
