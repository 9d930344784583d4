"""Networks from atoms to features: one module per architecture, all with the same signature."""
