"""For all rooms."""

import signal

# A shell starts its background jobs with SIGINT ignored, and every process started from there inherits that. Tests that
# interrupt a program would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
