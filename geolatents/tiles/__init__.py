"""Scenes and image folders become tile stores."""
