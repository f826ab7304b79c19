"""Tests of applying / blobs."""
