"""nfharness: a real-kernel integration harness for netfilter hooks."""

__version__ = "0.1.0"
