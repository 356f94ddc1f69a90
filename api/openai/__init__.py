"""OpenAI-compatible chat completions over the sessions of `/v1/sessions`."""
