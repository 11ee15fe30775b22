"""What all photo providers share."""
