"""Documents that agents search: reading of files, limits, and the files of agents."""
