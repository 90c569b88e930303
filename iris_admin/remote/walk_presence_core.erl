%% Walk through a core's presence table.
%%
%% Examples: how many expired entries to name.
%%
%% Answers {Backend, Size, Unused, Looked, Expired, [{User, Pid}], Entries}: the number of entries; how many there are
%% in the table of the other back end, or undefined; how many were looked at; how many of them have had no heartbeat in
%% time, and some of those; and the others that were looked at since the last answer, as {User, Node, Pid}.
Expiry = application:get_env(iris_core, presence_expiry_ms, 30000),
Unused = case Backend of
    ets -> try mnesia:table_info(presence, size) catch exit:_ -> undefined end;
    _ -> ets:info(presence_local, size)
end,
Start = fun() ->
    Body = {{'$1', '$2', '$3', case Backend of ets -> '$4'; _ -> undefined end}},
    #{at => First(Entries([], Body)), count => 0, expired => 0, names => [], values => []}
end,
Step = fun(#{at := At, count := Looked, expired := Expired, names := Named} = State) ->
    case At of
        '$end_of_table' ->
            {done, State};
        {Found, More} ->
            Oldest = erlang:system_time(millisecond) - Expiry,
            IsExpired = fun({_, _, _, Heartbeat}) -> is_integer(Heartbeat) andalso Heartbeat < Oldest end,
            {Old, Live} = lists:partition(IsExpired, Found),
            {full, State#{
                at := Next(More),
                count := Looked + length(Found),
                expired := Expired + length(Old),
                names := lists:sublist(Named ++ [{User, Pid} || {User, _, Pid, _} <- Old], Examples),
                values := [{User, Node, Pid} || {User, Node, Pid, _} <- Live]
            }}
    end
end,
Report = fun(#{count := Looked, expired := Expired, names := Named, values := Live} = State) ->
    {{Backend, Size0, Unused, Looked, Expired, Named, Live}, State#{values := []}}
end
