"""The life of a process: how it comes up, how it hears that it should end, how it lets go."""
