"""The SQL side: what outlives a workflow's retention, the messages the model needs, and the money."""
