"""What changes a list of rows that the diff has made, each in its turn."""
