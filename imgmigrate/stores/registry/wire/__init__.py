"""One request on its way: limits, login, retries, redirects, and what comes back."""
