"""Tests of foreign / formats."""
