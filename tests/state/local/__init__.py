"""Tests of state / local."""
