"""Look at both sides, and say which of it is asked about: planning's and verifying's."""
