"""The database of this service: its declarative base and its migrations."""
