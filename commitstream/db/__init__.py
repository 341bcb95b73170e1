"""The database: engine, transactions, tables and their migrations."""
