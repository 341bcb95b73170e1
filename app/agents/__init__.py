"""Agents: a model works on a message with tools, and the runner tells the journal what happens."""
