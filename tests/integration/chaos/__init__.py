"""Anything that may happen to registries, layouts, configs and states, around real runs."""
