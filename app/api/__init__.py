"""The edge: thin routes, sockets and health. What is decided here is who may see what, and how an error reads."""
