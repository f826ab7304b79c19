"""Tests of stores / layout."""
