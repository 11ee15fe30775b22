"""The demo country: a seeded procedural landscape with known truth; a test fixture, never evidence."""
