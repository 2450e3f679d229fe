"""Load, decide, append, dispatch: the pure machine connected to a store, threads, HTTP and Celery."""
