"""A shared state on a branch of a git repository: every version of it is one commit."""
