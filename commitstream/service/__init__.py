"""What a service needs around the events: health, metrics, problems, limits, tokens, logs, traces, a server."""
