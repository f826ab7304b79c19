"""Tests of cli / commands."""
