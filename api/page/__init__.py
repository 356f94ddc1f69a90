"""The page where agents are tried, as files built from web/."""
