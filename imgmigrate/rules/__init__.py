"""What is asked: which images, from where to where, under which names. No file is read here."""
