"""`make demo`: a scripted conversation that survives a killed worker."""
