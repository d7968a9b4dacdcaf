"""`python -m fedanomaly` is the command `fedanomaly`."""

from fedanomaly.cli import main

if __name__ == "__main__":
    main()
