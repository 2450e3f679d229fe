"""The only SQL of the engine: tables, journal, claims and queries behind one port (`saga.store.port`)."""
