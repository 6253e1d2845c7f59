"""Answers over a Unix socket: one engine listens to the kernel, every other command asks it."""
