"""Alembic's environment and the revisions of the four services, a folder each; `services.skeleton.migrating` runs them."""
