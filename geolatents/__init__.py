"""What satellite images say about the land: tiles, labels, models and the proof of what they learned."""

import os

__version__ = "0.1.0"

# TensorFlow uses oneDNN's kernels by itself only on processors with AVX-512 or AMX; with AVX2 alone a training step
# takes 0.6 of the time with them. Read when TensorFlow is imported; an own value stays.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
