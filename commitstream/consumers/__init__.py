"""Consumers: handlers that get every event of every stream, at least once and in order."""
