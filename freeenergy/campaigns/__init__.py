"""A campaign: its input file, the graph of its tasks, their bodies, and the record that they leave."""
