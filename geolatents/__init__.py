"""What satellite images say about the land: tiles, labels, models and the proof of what they learned."""

__version__ = "0.1.0"
