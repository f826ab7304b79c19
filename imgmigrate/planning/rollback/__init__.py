"""The way back: a plan like any other."""
