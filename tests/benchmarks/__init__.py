"""Benchmarks: run by hand, `python -m tests.benchmarks.NAME`; each compares in one run, never across runs."""
