"""Find out what a registry does and whether a config can work, before anything is planned."""
