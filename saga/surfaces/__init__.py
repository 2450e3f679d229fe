"""What people and other programs see of the engine: the order API, the command line, their shared shapes."""
