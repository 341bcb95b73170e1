"""Consumers: handlers that are given every event of every stream, at least once and in order."""
