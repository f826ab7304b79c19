"""Tests of render / reports."""
