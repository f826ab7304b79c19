"""Commands that prove something and change nothing."""
