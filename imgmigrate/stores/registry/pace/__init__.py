"""How fast a registry may be asked, and what it counts."""
