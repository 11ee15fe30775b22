"""A finished run as one file that another machine can check."""
