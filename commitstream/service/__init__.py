"""The parts of a service around its events: health, metrics, problems, limits, tokens, logs, traces, a server."""
