"""A state in a folder: a journal, snapshots, a lock."""
