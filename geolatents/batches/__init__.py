"""Splits, batch orders and the loading of tiles."""
