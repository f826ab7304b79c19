"""Tests of applying / executor."""
