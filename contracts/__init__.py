"""Every payload that crosses Temporal: inputs and results of workflows and activities, ids, heartbeat details."""
