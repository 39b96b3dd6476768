"""`python -m drystone`: see `drystone.demo`."""

from drystone.demo import main

if __name__ == "__main__":
    main()
