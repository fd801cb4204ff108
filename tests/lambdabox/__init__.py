"""Handlers inside what comes close to a Lambda execution environment: `box.LambdaBox`."""
