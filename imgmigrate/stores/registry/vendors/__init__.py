"""How vendors list repositories where the catalog is not to be had: a small module for each.

Every module has one function, `list_below(remote, segments)`: all repositories below the
segments that a glob names literally, or an error; never a part of them.
"""
