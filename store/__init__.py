"""The SQL store: sessions, messages, money, and everything else that outlives a workflow's retention."""
