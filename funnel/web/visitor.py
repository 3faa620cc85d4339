"""Who asks: host, origin and address of one HTTP request. Trusts no header that the settings do not (SEC-29, LAW-2)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from funnel.errors import ConfigError

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

    from funnel.config import Site

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
#: What a proxy adds to the requests it passes on.
PROXIED = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via")
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Door:
    """What one site lets in: its own name, the origins of pages that show our form, the proxies it believes."""

    scheme: str
    host: str
    port: int
    origins: frozenset[str]
    proxies: tuple[Network, ...]

    @classmethod
    def of(cls, site: Site) -> Door:
        """Return the door of a site; raises ConfigError for a proxy that is no address or network."""
        parts = urlsplit(site.base_url)
        return cls(
            scheme=parts.scheme,
            host=(parts.hostname or "").lower(),
            port=parts.port or PORTS[parts.scheme],
            origins=frozenset(site.allowed_origins),
            proxies=tuple(_network(proxy) for proxy in site.trusted_proxies),
        )

    @property
    def own_origin(self) -> str:
        """Return the origin of our own pages as browsers write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")

    def knows_host(self, header: str | None) -> bool:
        """True for our own name, for loopback, and for HTTP/1.0 without a name."""
        if header is None:
            return True
        try:
            parts = urlsplit(f"//{header}")
            name, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return False
        if parts.path or parts.query or parts.fragment or "@" in header:
            return False
        return name in LOOPBACK or (name == self.host and port in {None, self.port})

    def allows_origin(self, headers: Headers) -> bool:
        """True for a form of our own, of a page the settings allow, or of a browser that does not say (SEC-4).

        ``null`` is what a page without referrers sends of itself; the browser's own word then tells whose it is.
        """
        origin = headers.get("Origin")
        if origin is None or origin == self.own_origin or origin in self.origins:
            return True
        return origin == "null" and headers.get("Sec-Fetch-Site") == "same-origin"

    def address(self, peer: str | None, forwarded: str | None) -> str:
        """Return the visitor's IP address: the socket's, or what the nearest proxies we trust say; else nothing."""
        here = _ip(peer or "")
        hops = (forwarded or "").split(",")
        while here and self._trusts(here) and hops:
            said = _ip(hops.pop().strip())
            if said is None:
                break
            here = said
        return str(here) if here else ""

    def is_local(self, peer: str | None, headers: Headers) -> bool:
        """True for somebody at this very machine: a socket from loopback, and no proxy that speaks for another."""
        here = _ip(peer or "")
        return here is not None and here.is_loopback and not any(name in headers for name in PROXIED)

    def _trusts(self, ip: Ip) -> bool:
        return any(ip in network for network in self.proxies)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigError(
            f"site.trusted_proxies: {text!r} is no IP address or network; write it like 10.0.0.7 or 10.0.0.0/24."
        ) from None


def _ip(text: str) -> Ip | None:
    """Return the address in a text, an IPv4 one carried in IPv6 as itself; None for anything else."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip
