%% Walk through an edge's presence table, and see what its entries lead to.
%%
%% Examples: how many stale entries to name. Kinds: of the connections whose users are wanted: the module whose process
%% the connection is, or other.
%%
%% Answers {Size, Tcp, WebSocket, Other, Stale, [{User, Pid}], Users}: the number of entries; how many lead to each kind
%% of connection, or to none; some of the last; and the users with a connection of the wanted kinds that were
%% looked at since the last answer.
Rows = [{{'$1', '$2'}, [{is_binary, '$1'}], ['$_']}],
Start = fun() ->
    #{at => First(Rows), iris_edge_conn => 0, iris_ws_lite => 0, other => 0, exited => 0, names => [], values => []}
end,
Look = fun({User, Pid}, #{values := Live} = State) ->
    %% A process of an earlier life of this node is not local, and gone.
    case try is_process_alive(Pid) catch error:badarg -> false end of
        true ->
            Kind = case proc_lib:translate_initial_call(Pid) of
                {Module, _, _} when Module =:= iris_edge_conn; Module =:= iris_ws_lite -> Module;
                _ -> other
            end,
            Wanted = case lists:member(Kind, Kinds) of true -> [User | Live]; false -> Live end,
            maps:update_with(Kind, fun(N) -> N + 1 end, State#{values := Wanted});
        false ->
            #{exited := Stale, names := Named} = State,
            State#{
                exited := Stale + 1,
                names := case length(Named) < Examples of true -> [{User, Pid} | Named]; false -> Named end
            }
    end
end,
Step = fun(#{at := At} = State) ->
    case At of
        '$end_of_table' ->
            {done, State};
        {Found, More} ->
            Looked = lists:foldl(Look, State, Found),
            {full, Looked#{at := Next(More)}}
    end
end,
Report = fun(#{other := Other, exited := Stale, names := Named, values := Live} = State) ->
    #{iris_edge_conn := Tcp, iris_ws_lite := Ws} = State,
    {{Size0, Tcp, Ws, Other, Stale, Named, Live}, State#{values := []}}
end
