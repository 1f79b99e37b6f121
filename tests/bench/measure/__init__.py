"""What `run` is made of: the machine, the contenders, the load, and one module per question."""
