"""Networks from atoms to features: one module per architecture, all behind the interface of `registry`."""
