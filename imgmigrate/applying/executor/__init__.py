"""The seam between who decides about rows and who carries one out, maybe in another process."""
