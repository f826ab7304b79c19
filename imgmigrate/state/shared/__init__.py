"""A state that several machines share: files that never change, and one head that is swapped."""
