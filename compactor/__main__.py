"""`python -m compactor`: the same as the console script."""

from compactor.cli.main import run

if __name__ == "__main__":
    run()
