"""``python cli.py …`` is ``funnel …`` from a checkout."""

from funnel.cli import main

if __name__ == "__main__":
    main()
