"""What the user gave on the command line, as the library takes it."""
