"""Penstock: a declarative, config-driven reverse proxy for chat APIs."""

__version__ = "0.1.0"
