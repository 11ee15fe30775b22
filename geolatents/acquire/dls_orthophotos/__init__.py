"""Orthophotos of any map service."""
