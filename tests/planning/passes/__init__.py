"""Tests of planning / passes."""
