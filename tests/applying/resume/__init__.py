"""Tests of applying / resume."""
