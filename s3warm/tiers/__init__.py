"""The local tiers, behind the `Tier` protocol."""
