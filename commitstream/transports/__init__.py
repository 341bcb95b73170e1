"""How events reach clients: the WebSocket with its protocol, and server-sent events."""
