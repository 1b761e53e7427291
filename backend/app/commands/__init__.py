"""What the command line can do, one module per command; `cli.py` names them all."""
