"""Where things run: task engines, devices, quantum devices."""
