"""Mail that comes back: bounces and complaints become reports. Parsing and verifying only; nothing is decided here."""

from __future__ import annotations

from funnel.inbound.report import Report, read_report

__all__ = ["Report", "read_report"]
