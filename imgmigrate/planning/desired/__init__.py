"""What the rules ask for: sources, tags, pins."""
