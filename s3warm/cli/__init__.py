"""The command line: `python -m s3warm`."""
