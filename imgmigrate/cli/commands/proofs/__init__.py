"""Commands that prove something and change nothing: `verify` and `compare`."""
