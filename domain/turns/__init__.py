"""One turn: its data, the engine that decides each step, and the extraction of variables."""
