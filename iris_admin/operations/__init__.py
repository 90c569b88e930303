"""What an operator does with a cluster: one module for each noun, written once for every facade.

An operation is a generator. It yields the steps of :mod:`iris_admin.operations.steps` and returns a result, a frozen
dataclass of :mod:`iris_admin.operations.results`; a driver such as :mod:`iris_admin.runner` does the talking.
"""
