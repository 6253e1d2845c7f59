"""The command line: `app` declares the options, one module for each command does it, `main` ends it."""
