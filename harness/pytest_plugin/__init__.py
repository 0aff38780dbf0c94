"""Plain pytest files whose tests run inside real kernels."""
