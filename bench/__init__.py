"""How fast iris_admin is, next to another Erlang node: ``python3 bench/run_all.py`` measures it."""
