"""The whole life of a lead, in one folder and one SQLite file."""

__version__ = "0.1.0"
