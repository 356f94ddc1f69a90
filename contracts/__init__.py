"""Payloads that cross Temporal: inputs and results of workflows and activities, ids, heartbeat details."""
