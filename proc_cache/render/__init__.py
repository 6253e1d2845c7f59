"""Frozen results to text: one module for each form. Nothing here opens, reads or waits."""
