"""A blob's way: read once, sent wherever it is wanted."""
