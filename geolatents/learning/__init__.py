"""Networks, losses, metrics and fitting, shared by all systems."""
