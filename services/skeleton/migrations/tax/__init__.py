"""The revisions of the tax service's tables."""
