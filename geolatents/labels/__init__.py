"""Land cover becomes cover, label sets and co-occurrence."""
