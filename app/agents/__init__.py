"""Agents: a model works on a message with tools, and the runner writes its events to the journal."""
