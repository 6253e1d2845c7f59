"""What each listener of the proc connector knows of programs that exit at once: see `__main__`."""
