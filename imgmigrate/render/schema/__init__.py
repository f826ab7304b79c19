"""The JSON Schemas of what imgmigrate reads and writes, derived from the code."""
