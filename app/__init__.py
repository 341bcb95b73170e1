"""The service: a message starts an agent's run, and everybody entitled to watch sees its events."""
