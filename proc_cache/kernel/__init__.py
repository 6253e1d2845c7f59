"""What the kernel says: the proc connector's messages, /proc, users and clocks."""
