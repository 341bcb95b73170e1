"""The kit's clients, who can start runs."""

from __future__ import annotations

from test_framework.websocket.clients import Clients
from tests.agents.context import AgentsContext

CLIENTS = Clients(AgentsContext)
isolated_users, two_sockets = CLIENTS.isolated_users, CLIENTS.two_sockets
slow_reader, dropping = CLIENTS.slow_reader, CLIENTS.dropping
