"""The shipping service: what a parcel costs, where it can go, and the labels that were bought, voided or dispatched."""
