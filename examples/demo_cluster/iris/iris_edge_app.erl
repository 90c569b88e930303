%% The edge application: connects to the configured cores, then opens the doors to clients.
-module(iris_edge_app).
-behaviour(application).

-export([start/2, stop/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    Absent = [Core || Core <- application:get_env(iris_edge, core_nodes, []), net_adm:ping(Core) =:= pang],
    Absent =:= [] orelse logger:warning("these cores do not answer: ~p", [Absent]),
    iris_edge_sup:start_link().

-spec stop(term()) -> ok.
stop(_State) ->
    ok.
