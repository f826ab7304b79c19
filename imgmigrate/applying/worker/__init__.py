"""Carry out one row: copy, adopt or delete. Knows no state and no other row."""
