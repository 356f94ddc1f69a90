"""Clients of the tools that agents call: HTTP, MCP and mocks."""
