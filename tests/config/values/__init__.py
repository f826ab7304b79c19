"""Tests of config / values."""
