"""S3: the conditional fetch and the suppliers of its requests, behind the `Origin` protocol."""
