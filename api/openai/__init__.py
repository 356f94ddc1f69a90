"""OpenAI's chat protocol over the same sessions as under `/v1/sessions`: any client of it can drive an agent."""
