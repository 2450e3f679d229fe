"""The revisions of the inventory service's tables."""
