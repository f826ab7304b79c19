"""Tests of planning / desired."""
