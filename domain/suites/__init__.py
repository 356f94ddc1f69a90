"""Suites: scenarios, checks, verdicts and the statistics that compare runs."""
