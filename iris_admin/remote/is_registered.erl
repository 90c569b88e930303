%% Whether a process of that name runs here. The name (a binary) becomes an atom only where the node knows it.
try is_pid(whereis(binary_to_existing_atom(Name))) catch error:badarg -> false end
