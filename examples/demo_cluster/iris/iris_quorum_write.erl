%% Where the copies of a key would be placed. This is arithmetic on the key's hash; it says nothing
%% about whether those nodes are well.
-module(iris_quorum_write).

-export([get_replicas/1]).

-spec get_replicas(term()) -> [node()].
get_replicas(Key) ->
    Nodes = lists:sort(available_nodes()),
    Wanted = application:get_env(iris_core, replication_factor, 3),
    case length(Nodes) of
        0 -> [node()];
        Count when Count =< Wanted -> Nodes;
        Count -> from_ring(Nodes, erlang:phash2(Key) rem Count, Wanted)
    end.

from_ring(Nodes, Start, Wanted) ->
    {Tail, Head} = lists:split(Start, Nodes),
    lists:sublist(Head ++ Tail, Wanted).

available_nodes() ->
    try mnesia:system_info(running_db_nodes)
    catch exit:_ -> [node() | nodes()]
    end.
