"""The HTTP service: bundles answer over the network with the numbers that `seqclass.predict` gives."""
