"""Tests of config / reading."""
