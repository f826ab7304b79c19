"""Tests of render / changes."""
