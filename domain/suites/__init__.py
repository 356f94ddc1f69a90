"""Suites: scenarios, checks, verdicts, and statistics to compare suites."""
