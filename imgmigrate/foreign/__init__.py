"""Other tools' files: read as they are, or converted."""
