"""What we have done: records, a journal, a lock; local first (DESIGN section 7)."""
