"""Values that a config writes as text: quantities, shares, tags, places."""
