"""OCI layouts on a disk as a store: looked at blob by blob, written whole or not at all."""
