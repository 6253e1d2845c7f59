"""The engine: which processes there are, what each event does to them, and what is kept of the dead."""
