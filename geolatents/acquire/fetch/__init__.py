"""Bringing files from services: whole or absent, at a pace, without showing secrets."""
