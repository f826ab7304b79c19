"""A file's text, as a tree whose nodes know where they stand; nothing of what it means."""
