"""Folders and archives of images, in the layouts that published datasets have."""
