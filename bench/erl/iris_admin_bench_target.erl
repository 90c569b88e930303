%% The node that bench/target_side.py has worked for it: what fills it, what does the same work compiled, and a ping
%% beside it.
-module(iris_admin_bench_target).
-export([start_processes/1, wait/0, top/1, be_core/0, fill/1, fold/0, keep_folding/0, stop_folding/1]).
-export([start_echo/0, ping/3, watch_memory/0, memory/0, sent/0]).

%% -- Many processes

%% A few of them are larger than the rest, in no order, so that there is something to rank.
start_processes(Count) ->
    Self = self(),
    Each = Count div 4,
    Starters = [
        spawn_monitor(fun() ->
            lists:foreach(fun(I) -> start_process(Quarter * Each + I) end, lists:seq(1, Each)),
            Self ! started
        end)
     || Quarter <- lists:seq(0, 3)
    ],
    [receive {'DOWN', Ref, process, Pid, normal} -> ok end || {Pid, Ref} <- Starters],
    [receive started -> ok end || _ <- Starters],
    erlang:system_info(process_count).

start_process(I) when I rem 9973 =:= 0 ->
    spawn_opt(fun() -> receive never -> ok end end, [{min_heap_size, 1000 + I rem 100000}]);
start_process(_) ->
    spawn(?MODULE, wait, []).

wait() ->
    receive never -> ok end.

%% The Count processes with the most memory, as a compiled module would find them: one pass, nothing kept but the best.
top(Count) ->
    {Pid, Ref} = spawn_monitor(fun() -> exit({top, rank(processes(), Count, gb_sets:new(), 0)}) end),
    receive {'DOWN', Ref, process, Pid, {top, Best}} -> Best end.

rank([], _, Best, _) ->
    lists:reverse(gb_sets:to_list(Best));
rank([Pid | Pids], Count, Best, Least) ->
    case process_info(Pid, memory) of
        {memory, Memory} when Memory > Least ->
            Better = gb_sets:add({Memory, Pid}, Best),
            case gb_sets:size(Better) > Count of
                true ->
                    {_, Rest} = gb_sets:take_smallest(Better),
                    rank(Pids, Count, Rest, element(1, gb_sets:smallest(Rest)));
                false ->
                    rank(Pids, Count, Better, Least)
            end;
        _ ->
            rank(Pids, Count, Best, Least)
    end.

%% -- Many rows

%% Mnesia with the table of a core, and an application of that name, so that the node is taken for one.
be_core() ->
    ok = mnesia:start(),
    {atomic, ok} = mnesia:create_table(offline_msg, [
        {type, bag}, {attributes, [key, timestamp, msg]}, {ram_copies, [node()]}
    ]),
    ok = application:load(
        {application, iris_core, [{vsn, "1"}, {modules, []}, {registered, []}, {applications, [kernel, stdlib]}]}
    ),
    ok = application:start(iris_core).

%% Straight into the ETS table: through Mnesia it would take minutes. Ten rows for each user, in one bucket.
fill(Count) ->
    Writers = erlang:system_info(schedulers_online),
    Each = Count div Writers,
    Filling = [
        spawn_monitor(fun() -> insert(Writer * Each, Each) end)
     || Writer <- lists:seq(0, Writers - 1)
    ],
    [receive {'DOWN', Ref, process, Pid, normal} -> ok end || {Pid, Ref} <- Filling],
    ets:info(offline_msg, size).

insert(_, Count) when Count =< 0 ->
    ok;
insert(From, Count) ->
    Rows = [
        {offline_msg, {<<"user", (integer_to_binary(I div 10))/binary>>, 0}, 1700000000000 + I, <<I:64, "message ">>}
     || I <- lists:seq(From, From + min(Count, 1000) - 1)
    ],
    true = ets:insert(offline_msg, Rows),
    insert(From + 1000, Count - 1000).

%% Nanoseconds, and what was found.
fold() ->
    Parent = self(),
    {Pid, Ref} = spawn_monitor(fun() ->
        Start = erlang:monotonic_time(nanosecond),
        Sum = sum(),
        Parent ! {folded, erlang:monotonic_time(nanosecond) - Start, Sum}
    end),
    receive {'DOWN', Ref, process, Pid, normal} -> ok end,
    receive {folded, Took, Sum} -> {Took, Sum} end.

sum() ->
    ets:foldl(
        fun({_, _, Time, Message}, {Rows, Bytes, Oldest}) ->
            {Rows + 1, Bytes + byte_size(Message), min(Time, Oldest)}
        end,
        {0, 0, infinity},
        offline_msg
    ).

%% The same in a process of its own, again and again.
keep_folding() ->
    spawn(fun Again() -> sum(), Again() end).

stop_folding(Pid) ->
    Ref = monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Ref, process, Pid, _} -> ok end.

%% -- Its other work

start_echo() ->
    Pid = spawn(fun Echo() -> receive {From, Ref} -> From ! Ref, Echo() end end),
    register(iris_admin_bench_echo, Pid),
    ok.

%% Ask the echo of a node again and again. The 99th percentile and the median of each window, in nanoseconds.
ping(Node, WindowMs, Windows) ->
    Parent = self(),
    {Pid, Ref} = spawn_monitor(fun() ->
        Parent ! {pinged, [window({iris_admin_bench_echo, Node}, WindowMs) || _ <- lists:seq(1, Windows)]}
    end),
    receive {'DOWN', Ref, process, Pid, normal} -> ok end,
    receive {pinged, Seen} -> Seen end.

window(Echo, WindowMs) ->
    Times = lists:sort(ping_until(Echo, erlang:monotonic_time(nanosecond) + WindowMs * 1000000, [])),
    Number = length(Times),
    {lists:nth(max(1, Number * 99 div 100), Times), lists:nth(Number div 2 + 1, Times)}.

ping_until(Echo, End, Times) ->
    Ref = make_ref(),
    Start = erlang:monotonic_time(nanosecond),
    Echo ! {self(), Ref},
    receive Ref -> ok end,
    Now = erlang:monotonic_time(nanosecond),
    case Now < End of
        true -> ping_until(Echo, End, [Now - Start | Times]);
        false -> [Now - Start | Times]
    end.

%% -- Its memory

%% Keeps the largest that the memory of all processes has been, as seen every ten milliseconds.
watch_memory() ->
    Watcher = spawn(fun() -> watch(erlang:memory(processes), 0) end),
    register(iris_admin_bench_watcher, Watcher),
    ok.

watch(Before, Most) ->
    receive
        {From, Ref} ->
            From ! {Ref, Most},
            watch(erlang:memory(processes), 0)
    after 10 ->
        watch(Before, max(Most, erlang:memory(processes) - Before))
    end.

%% How much more than at the beginning that was, in bytes; begins anew.
memory() ->
    Ref = make_ref(),
    iris_admin_bench_watcher ! {self(), Ref},
    receive {Ref, Most} -> Most end.

%% -- What it has sent to other nodes, in bytes

sent() ->
    Ports = [Port || {_, Port} <- erlang:system_info(dist_ctrl), is_port(Port)],
    lists:sum([Bytes || {ok, [{send_oct, Bytes}]} <- [inet:getstat(Port, [send_oct]) || Port <- Ports]]).
