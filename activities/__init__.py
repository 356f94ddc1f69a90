"""Temporal activities: model calls, tool calls, settlement and webhooks, as classes with injected dependencies."""
