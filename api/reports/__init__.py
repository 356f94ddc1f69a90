"""Reports of suites as JUnit XML and as an HTML page."""
