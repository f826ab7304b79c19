"""Tests of stores / registry / auth."""
