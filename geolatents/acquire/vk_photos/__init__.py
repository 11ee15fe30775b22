"""Photos of VK."""
