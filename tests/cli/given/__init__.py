"""Tests of cli / given."""
