"""Configs of other tools, read as if they were ours: one module for each format."""
