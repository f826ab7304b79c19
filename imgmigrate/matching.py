"""Globs, regexes and version ranges: one language for rules, targets and policies."""
