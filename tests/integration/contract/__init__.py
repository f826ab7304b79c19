"""The contract of DESIGN section 5 as a slow reference model, and a machine that tries it."""
