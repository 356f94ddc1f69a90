"""OpenAI's Responses API over the sessions of `/v1/sessions`: a response is a turn."""
