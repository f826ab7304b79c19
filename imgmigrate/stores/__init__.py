"""Where images live: registries and OCI layouts behind one Protocol."""
