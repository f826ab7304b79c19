"""Prove that what is recorded, or what a layout lists, is there as a puller would get it."""
