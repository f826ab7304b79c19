"""The command line: one module per command group; parsing, wiring and exit codes only."""
