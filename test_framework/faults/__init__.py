"""Bad days on demand: a service paused or killed, a network slow or cut, a disk full, a clock set wrong, and always healed."""
