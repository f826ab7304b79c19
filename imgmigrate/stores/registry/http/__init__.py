"""Sessions, timeouts, retries and redirects; the only importer of aiohttp."""
