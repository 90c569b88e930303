%% Second half of every walk through a table: a process that works in slices, each when it is asked for, so that
%% whoever asks can tell how far it is, take the answer in pieces, and stop. It gives way to everything else on the
%% node, and ends with the connection, or when nobody has asked for a while.
%%
%% The first half defines Around, a fun that runs another one within whatever that needs; Start, which gives the first
%% state; Step, which gives {more, State}, {full, State} when there is enough to be sent, or {done, State}; and Report,
%% which gives {Answer, State}. MaxHeap: of the process, in words; the node ends it rather than itself. SliceMs: how
%% long to work at once. IdleMs: see above.
%%
%% Gives the process. walk_next.erl asks it.
Us = node(group_leader()),
Slice = fun Slice(State, Deadline) ->
    case Step(State) of
        {more, Later} ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true -> Slice(Later, Deadline);
                false -> {more, Later}
            end;
        {full, Later} ->
            {more, Later};
        {done, Later} ->
            {done, Later}
    end
end,
Serve = fun Serve(Before) ->
    receive
        {next, From, Ref} ->
            {Status, Answer, After} =
                try
                    State = case Before of none -> Start(); _ -> Before end,
                    {Progress, Worked} = Slice(State, erlang:monotonic_time(millisecond) + SliceMs),
                    {Told, Rest} = Report(Worked),
                    {Progress, Told, Rest}
                catch
                    Class:Reason -> {error, {Class, Reason}, none}
                end,
            From ! {Ref, {Status, Answer}},
            case Status of
                more -> Serve(After);
                _ -> ok
            end;
        {nodedown, Us} ->
            ok
    after IdleMs ->
        ok
    end
end,
spawn(fun() ->
    process_flag(max_heap_size, #{size => MaxHeap, kill => true, error_logger => false}),
    process_flag(priority, low),
    monitor_node(Us, true),
    Around(fun() -> Serve(none) end)
end)
