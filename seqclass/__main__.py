"""`python -m seqclass`: the command line, for launchers that start a module."""

from seqclass.cli import main

if __name__ == "__main__":
    main()
