"""The event path: journal, outbox, bus, hub. The database is the truth; the bus is its doorbell."""
