"""Every test has a world of its own: a database nobody else writes to, channels nobody else listens on."""
