"""What the engine saw, in an SQLite file: asked next week as the engine is asked now.

engine --> journal --> (a socket) --> writer process --> file --> reader, replay
"""
