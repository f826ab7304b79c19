"""Tests of stores / registry / logins."""
