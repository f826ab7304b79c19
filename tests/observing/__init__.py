"""Tests of observing."""
