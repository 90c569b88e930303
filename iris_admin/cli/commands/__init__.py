"""One module for each command, or group of commands, of ``iris-admin``; each has it under the name ``command``."""
