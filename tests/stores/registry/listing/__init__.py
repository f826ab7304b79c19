"""Tests of stores / registry / listing."""
