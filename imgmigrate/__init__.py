"""Migrate container images between registries: plan, review, apply, resume."""

__version__ = "0.1.0"
