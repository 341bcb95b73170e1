"""Whether an address is this machine's own."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def on_loopback(host: str) -> bool | None:
    """Say whether an address is on loopback; None for a text that is no address."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
