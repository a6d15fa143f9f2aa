"""Addresses of a host and a port, as gRPC and URLs write them."""


def is_ipv6(host: str) -> bool:
    """Whether the host is an address of IPv6, such as `::1`. No name and no IPv4 has a colon."""
    return ":" in host


def joined(host: str, port: int) -> str:
    """`host:port`. An address of IPv6 is in brackets, or its colons would hide the port."""
    return f"[{host}]:{port}" if is_ipv6(host) else f"{host}:{port}"
