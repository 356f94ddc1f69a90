"""Benchmarks, many of them compared with a floor (a minimum) that is measured in the same run."""
