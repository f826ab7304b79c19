"""In which order rows are carried out, what one row takes, and when to stop."""
