"""Photos of Wikimedia Commons."""
