"""CORINE Land Cover."""
