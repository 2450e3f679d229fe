"""A saga orchestration engine on Celery and a relational database; start reading at ``saga.fulfilment.fulfil_order``."""

__version__ = "0.1.0"
