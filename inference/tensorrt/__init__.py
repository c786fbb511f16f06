"""Plans: the network as TensorRT and TensorRT-RTX run it, built ahead for one kind of GPU.

`half_graph` makes the graph, `build` the plans, `parity` lets out what agrees with float32, and
`index` finds the one that fits. `inference.engines.tensorrt_engine` runs it.
"""
