"""s3warm as a Lambda layer: `make layer`."""
