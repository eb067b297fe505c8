"""Where computation happens: devices, and processes that share it."""
