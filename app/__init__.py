"""The service: a message starts an agent's run, and its user's clients get the events of it."""
