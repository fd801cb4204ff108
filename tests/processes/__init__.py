"""Several processes on one cache directory: `brood.Brood`."""
