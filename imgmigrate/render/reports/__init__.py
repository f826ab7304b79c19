"""What each command says of its own."""
