"""`python -m trustrace`, which `accelerate launch -m trustrace` needs."""

from trustrace.cli.entry import main

if __name__ == "__main__":
    main()
