"""The commands below `state`."""
