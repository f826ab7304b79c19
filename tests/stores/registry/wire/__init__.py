"""Tests of stores / registry / wire."""
