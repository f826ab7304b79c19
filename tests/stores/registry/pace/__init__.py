"""Tests of stores / registry / pace."""
