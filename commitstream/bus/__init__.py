"""The bus: it announces committed events to every process. It may lose them; the journal does not."""
