"""Agent definitions: the graph, its tools and templates, and their validation."""
