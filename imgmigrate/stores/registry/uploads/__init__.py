"""Ways to send a blob: in one request, in chunks, and what each registry bears."""
