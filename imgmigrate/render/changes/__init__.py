"""A plan's rows for people: text and Markdown, from the same facts."""
