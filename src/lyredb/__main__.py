"""``python -m lyredb``: the same as the ``lyredb`` command."""

from lyredb.cli.main import main

if __name__ == "__main__":
    main()
