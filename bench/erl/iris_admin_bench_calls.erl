%% Both sides of bench/calls.py and bench/large_replies.py: the node that is called, and another that calls it.
-module(iris_admin_bench_calls).
-export([sequential/2, many/3, make_rows/1, rows/0, fetch/1, beside/2]).

%% The times of so many calls one after another, sorted, in nanoseconds: the median and the 99th percentile.
sequential(Node, Count) ->
    in_process(fun() ->
        Times = lists:sort([timed(fun() -> Node = rpc:call(Node, erlang, node, []) end) || _ <- lists:seq(1, Count)]),
        {lists:nth(Count div 2, Times), lists:nth(Count * 99 div 100, Times)}
    end).

%% How long so many processes take to make so many calls each, in nanoseconds.
many(Node, Processes, Each) ->
    in_process(fun() ->
        timed(fun() ->
            Callers = [
                spawn_monitor(fun() -> [Node = rpc:call(Node, erlang, node, []) || _ <- lists:seq(1, Each)] end)
             || _ <- lists:seq(1, Processes)
            ],
            [receive {'DOWN', Ref, process, Pid, normal} -> ok end || {Pid, Ref} <- Callers]
        end)
    end).

make_rows(Count) ->
    persistent_term:put(?MODULE, [
        {offline_msg, {<<"user", (integer_to_binary(I rem 5000))/binary>>, I rem 16}, 1700000000000 + I,
            binary:copy(<<($a + I rem 26)>>, 200)}
     || I <- lists:seq(1, Count)
    ]).

rows() ->
    persistent_term:get(?MODULE).

%% How long it takes to receive the rows of a node, in nanoseconds.
fetch(Node) ->
    in_process(fun() -> timed(fun() -> [_ | _] = rpc:call(Node, ?MODULE, rows, []) end) end).

%% The times of so many small calls while another process fetches the rows again and again.
beside(Node, Count) ->
    {Pid, Ref} = spawn_monitor(fun() -> fetch_for_ever(Node) end),
    Times = sequential(Node, Count),
    exit(Pid, kill),
    receive {'DOWN', Ref, process, Pid, killed} -> Times end.

fetch_for_ever(Node) ->
    fetch(Node),
    fetch_for_ever(Node).

timed(Fun) ->
    Start = erlang:monotonic_time(nanosecond),
    Fun(),
    erlang:monotonic_time(nanosecond) - Start.

%% In a fresh process, as whoever calls has a heap of its own.
in_process(Fun) ->
    {Pid, Ref} = spawn_monitor(fun() -> exit({took, Fun()}) end),
    receive {'DOWN', Ref, process, Pid, {took, Took}} -> Took end.
