"""Tests of stores / registry / uploads."""
