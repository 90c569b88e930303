%% Functions for tests to call, and an overseer that tells what became of the calling processes, so that nobody has
%% to wait by the clock.
-module(iris_admin_test_probe).

-export([start/0, block/0, block_and_print/1, spin/0, trap/1, hold/1, count/0, counted/0]).
-export([blocked/1, reasons/1, gone/1, doors/0, closed/1]).

start() ->
    Starter = self(),
    spawn(fun() ->
                  register(?MODULE, self()),
                  Starter ! ready,
                  loop(#{}, [], [], 0)
          end),
    receive ready -> ok end.

%% Called over the network

%% Stay until somebody ends us.
block() ->
    ?MODULE ! {blocked, self()},
    receive after infinity -> ok end.

block_and_print(Text) ->
    io:put_chars(Text),
    block().

%% The same, at work.
spin() ->
    ?MODULE ! {blocked, self()},
    turn(0).

turn(N) -> turn(N + 1).

%% Do something that others could see, and come to an end whatever happens to the caller.
trap(Milliseconds) ->
    process_flag(trap_exit, true),
    ?MODULE ! {blocked, self()},
    receive after Milliseconds -> ok end.

%% Keep a reply back until the overseer is told.
hold(Reply) ->
    ?MODULE ! {blocked, self()},
    receive go_on -> Reply end.

count() ->
    ?MODULE ! count,
    ok.

%% Asked on the node's own console

counted() -> ask(counted).

%% Wait until Count processes block, and return them.
blocked(Count) -> ask({blocked, Count}).

%% Wait until Count processes have ended that once blocked, and return why, and forget them.
reasons(Count) -> ask({reasons, Count}).

%% Wait until a node is no longer connected.
gone(Node) ->
    case lists:member(Node, nodes(connected)) of
        true ->
            monitor_node(Node, true),
            receive {nodedown, Node} -> ok after 30000 -> timeout end;
        false ->
            ok
    end.

%% How many processes net_kernel has, among them one for each client that is there or tries to come in.
doors() ->
    {links, Links} = process_info(whereis(net_kernel), links),
    length(Links).

%% Wait until it has no more than that, and has put the names of the others back into its pool.
closed(Doors) ->
    case doors() > Doors of
        true ->
            timer:sleep(1),
            closed(Doors);
        false ->
            _ = sys:get_state(net_kernel),
            ok
    end.

ask(Question) ->
    Reference = monitor(process, ?MODULE),
    ?MODULE ! {ask, self(), Reference, Question},
    receive
        {Reference, Answer} -> demonitor(Reference, [flush]), Answer;
        {'DOWN', Reference, _, _, Reason} -> exit(Reason)
    after 30000 -> exit({no_answer, Question})
    end.

loop(Blocked, Reasons, Questions, Count) ->
    {Open, Left} = answer(Questions, Blocked, Reasons, Count),
    receive
        {blocked, Pid} -> loop(Blocked#{Pid => monitor(process, Pid)}, Left, Open, Count);
        {'DOWN', _, _, Pid, Reason} -> loop(maps:remove(Pid, Blocked), [Reason | Left], Open, Count);
        {ask, From, Reference, Question} -> loop(Blocked, Left, Open ++ [{From, Reference, Question}], Count);
        count -> loop(Blocked, Left, Open, Count + 1)
    end.

answer([], _, Reasons, _) ->
    {[], Reasons};
answer([{From, Reference, counted} | Others], Blocked, Reasons, Count) ->
    From ! {Reference, Count},
    answer(Others, Blocked, Reasons, Count);
answer([{From, Reference, {blocked, Wanted}} | Others], Blocked, Reasons, Count) when map_size(Blocked) =:= Wanted ->
    From ! {Reference, maps:keys(Blocked)},
    answer(Others, Blocked, Reasons, Count);
answer([{From, Reference, {reasons, Wanted}} | Others], Blocked, Reasons, Count) when length(Reasons) >= Wanted ->
    From ! {Reference, Reasons},
    answer(Others, Blocked, [], Count);
answer([Question | Others], Blocked, Reasons, Count) ->
    {Open, Left} = answer(Others, Blocked, Reasons, Count),
    {[Question | Open], Left}.
