"""Show plans, states and events to people and machines; never decide anything."""
