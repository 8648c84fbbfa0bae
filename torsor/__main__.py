"""`python -m torsor` is the command `torsor`."""

from torsor.cli import main

if __name__ == "__main__":
    main()
