"""Where a state may be: each kind of place, started and asked in one way."""
