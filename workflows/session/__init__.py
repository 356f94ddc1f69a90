"""The session workflow and the tasks it runs beside its handlers."""
