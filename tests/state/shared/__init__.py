"""States that several machines share."""
