"""The tax service: answers what tax an order carries, and keeps a row of each answer."""
