"""Signatures: what was signed, by which key, for which image. Reads no file."""
