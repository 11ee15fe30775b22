"""A private, real SLURM on one machine, to test the workflow on: see ``python -m tools.slurm --help``."""
