"""The checks of ``doctor``: each looks at one thing all over the cluster, reads only, and says what to type next."""
