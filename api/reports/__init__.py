"""Reports of suites: everything about one gathered, and written as JUnit's XML and as a page of HTML."""
