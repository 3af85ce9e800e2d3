"""Measurements that anyone can repeat: each prints the machine, the versions, the command and a table."""
