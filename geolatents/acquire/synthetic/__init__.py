"""The demo country: a seeded procedural landscape with known truth; a fixture, not evidence."""
