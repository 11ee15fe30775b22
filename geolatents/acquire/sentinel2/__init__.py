"""Sentinel-2 scenes."""
