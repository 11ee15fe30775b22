"""PlanetScope scenes."""
