"""The parts of a service around its events, from health checks to the server."""
