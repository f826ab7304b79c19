"""Tests of applying / engine."""
