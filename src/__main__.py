"""`python -m src` is `mlx`."""

from src.cli import main

main()
