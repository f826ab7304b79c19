"""Tests of foreign / reading."""
