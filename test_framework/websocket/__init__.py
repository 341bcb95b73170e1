"""What `TestContext` and its friends are made of: the line to a socket, the judgement of what came, the server that is shared."""
