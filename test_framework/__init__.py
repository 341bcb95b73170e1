"""What makes this service's tests green for the right reason: services, isolation, guards, reports, and one plugin for pytest."""
