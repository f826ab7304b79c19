"""One command a file: its options, its words, what it calls."""
