"""The eviction rule beside its peers and the best there can be, on recorded or generated requests (`python -m s3warm simulate`)."""
