"""Requests to hosts that a user named (an instance, a webhook): public addresses only.

The host is resolved once, every address it has must be a global one, and the connection is made to that very address
with the name kept in TLS and in the Host header, so that a name cannot answer differently the second time. No
redirects, no proxies. An operator opens single host:port pairs with KILROY_OUTBOUND_ALLOW.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3.util import parse_url

_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_UNICAST6 = ipaddress.ip_network("2000::/3")
"""All that is given out of IPv6: what lies outside (site-local and the like) is nobody's public address."""
_SPECIAL = (
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("192.88.99.0/24"),
    ipaddress.ip_network("3fff::/20"),
)
"""Set aside by IANA, and global all the same to some versions of Python."""
_PORTS = {"https": 443, "http": 80}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Forbidden(Exception):
    """An address that no request of ours may go to; the message says why and what to do."""


def session() -> requests.Session:
    """A session whose every request goes through the guard; nothing in it retries or follows a redirect."""
    guarded = _Session()
    guarded.trust_env = False  # no proxies, no .netrc
    for scheme in ("https://", "http://"):
        guarded.mount(scheme, _GuardedAdapter(max_retries=0))
    return guarded


def check_url(url: str) -> str:
    """The one address that a request to `url` may go to. Raises Forbidden."""
    if any(character <= " " or character in "\\\x7f" for character in url):
        # Parsers differ in what they make of these: a host that was checked must be the host that is meant.
        raise Forbidden(f"{url[:200]!r} holds a space, a backslash or a control character: write https://host.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise Forbidden(f"“{url[:200]}” is no address of a web server: write https://host.") from None
    if not host or parts.username is not None or parts.password is not None:
        raise Forbidden("The address must be https://host, without a user name or password.")
    opened = (host.lower(), port) in settings.OUTBOUND_ALLOW
    if parts.scheme != "https" and not opened:
        raise Forbidden(f"{host} must be reached by https://.")
    addresses = _resolve(host, port)
    if not opened:
        for address in addresses:
            if not is_public(address):
                raise Forbidden(
                    f"{host} is {address}, which is no public address. Choose another host; the operator can open a "
                    f"single one with KILROY_OUTBOUND_ALLOW={host}:{port}."
                )
    return str(addresses[0])


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, also behind IPv4-in-IPv6 notations."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and any(address in network for network in _NAT64):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return address not in _NAT64[1] and is_public(inner)
        if address not in _UNICAST6:
            return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise requests.exceptions.ConnectionError(f"The name {host} does not resolve.") from None
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


class _Session(requests.Session):
    def get_redirect_target(self, resp: Any) -> None:
        """None: no redirect is ever followed."""
        return


class _GuardedAdapter(HTTPAdapter):
    """Connects to the address that was checked, and speaks to it by the name that was asked for."""

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        address = check_url(request.url)
        if host["scheme"] == "https":
            pool |= {"server_hostname": host["host"], "assert_hostname": host["host"]}
        return {**host, "host": f"[{address}]" if ":" in address else address}, pool

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        # urllib3 would name the address; the server must be told the name.
        request.headers["Host"] = parse_url(request.url).netloc
        return super().send(request, *args, **kwargs)
