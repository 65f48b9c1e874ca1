"""Run the command line with `python -m traitlens.cli`."""

from traitlens.cli import main

if __name__ == "__main__":
    main()
