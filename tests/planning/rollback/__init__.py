"""Tests of planning / rollback."""
