"""The revisions of the shipping service's tables."""
