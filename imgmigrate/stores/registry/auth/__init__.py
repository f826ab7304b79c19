"""Prove who asks: challenges, tokens, and what happens when a login is refused."""
