%% The TCP ports on which this node listens, and how many connections came in by each. Only counts leave the node.
%%
%% Supervisor, Application, Presence: names (binaries) of the edge's root supervisor, of its application, and of its
%% table of connected users; they become atoms here only where the node knows them. Settings: keys of the
%% application's environment to report. Within: how long to count, in milliseconds. MaxListening: report no more.
%% MaxHeap: of this process, in words; the node ends the process rather than itself.
%%
%% Gives {Node, OsPid, Applications, Users, [{Key, Value}], [{Id, Pid}], Distribution, [Listening], Sockets, Counted}:
%% users in the presence table, or undefined; the settings; the supervisor's children; the process that listens for
%% other nodes; {Address, Port, Owner, Name, OwnersApplication, Connections} for each listening socket, Name being a
%% registered one or undefined; how many sockets there are, and how many of them were looked at in time.
process_flag(max_heap_size, #{size => MaxHeap, kill => true, error_logger => false}),
Existing = fun(Name) -> try binary_to_existing_atom(Name) catch error:badarg -> undefined end end,
Deadline = erlang:monotonic_time(millisecond) + Within,
Children =
    try [{Id, Pid} || {Id, Pid, _, _} <- gen_server:call(Existing(Supervisor), which_children, 2000), is_pid(Pid)]
    catch exit:_ -> []
    end,
Distribution = whereis(net_kernel),
%% Whoever is known to listen is looked at first, in case the time is over before all sockets were.
First = lists:append([
    [Port || Port <- Links, is_port(Port)]
 || {_, Pid} <- [{net_kernel, Distribution} | Children], {links, Links} <- [process_info(Pid, links)]
]),
Ports = First ++ (erlang:ports() -- First),
%% Another driver would take the question for a command of its own.
IsTcp = fun(Port) -> erlang:port_info(Port, name) =:= {name, "tcp_inet"} end,
Describe = fun(Owner) ->
    {
        Owner,
        case process_info(Owner, registered_name) of
            {registered_name, Registered} -> Registered;
            _ -> undefined
        end,
        case application:get_application(Owner) of
            {ok, OwnersApplication} -> OwnersApplication;
            undefined -> undefined
        end
    }
end,
%% A socket is {listening, {Address, Port}, Owner}, {connected, Port} or other.
Look = fun(Port) ->
    case {prim_inet:getstatus(Port), prim_inet:sockname(Port)} of
        {{ok, Status}, {ok, {Address, Number}}} ->
            case lists:member(listen, Status) of
                true -> {listening, {Address, Number}, element(2, erlang:port_info(Port, connected))};
                false -> {connected, Number}
            end;
        _ ->
            other
    end
end,
%% Sockets of the module socket, which are no ports.
LookAtSocket = fun(Socket) ->
    case {socket:getopt(Socket, {socket, acceptconn}), socket:sockname(Socket)} of
        {{ok, true}, {ok, #{addr := Address, port := Number}}} ->
            {listening, {Address, Number}, maps:get(owner, socket:info(Socket))};
        {{ok, false}, {ok, #{port := Number}}} ->
            {connected, Number};
        _ ->
            other
    end
end,
Try = fun(How, What) -> try How(What) catch _:_ -> other end end,
Count = fun
    Count([], _, Found, Done) ->
        {Found, Done};
    Count([Socket | Rest], How, {Listening, Connected} = Found, Done) ->
        case Done rem 100 =:= 99 andalso erlang:monotonic_time(millisecond) > Deadline of
            true ->
                {Found, Done};
            false ->
                case Try(How, Socket) of
                    {listening, Where, Owner} -> Count(Rest, How, {[{Where, Owner} | Listening], Connected}, Done + 1);
                    {connected, Number} ->
                        More = maps:update_with(Number, fun(N) -> N + 1 end, 1, Connected),
                        Count(Rest, How, {Listening, More}, Done + 1);
                    other -> Count(Rest, How, Found, Done + 1)
                end
        end
end,
LookAtPort = fun(Port) -> case IsTcp(Port) of true -> Look(Port); false -> other end end,
%% Who has any has loaded it; asking would.
Sockets = case erlang:module_loaded(socket) of
    true -> try socket:which_sockets() catch _:_ -> [] end;
    false -> []
end,
{Found, CountedPorts} = Count(Ports, LookAtPort, {[], #{}}, 0),
{{Listening, Connected}, CountedSockets} = Count(Sockets, LookAtSocket, Found, 0),
{
    node(),
    os:getpid(),
    try application:which_applications() catch exit:{timeout, _} -> undefined end,
    case ets:info(Existing(Presence), size) of Size when is_integer(Size) -> Size; _ -> undefined end,
    [{Key, Value} || {Key, Value} <- application:get_all_env(Existing(Application)),
                     lists:member(atom_to_binary(Key), Settings)],
    Children,
    Distribution,
    [
        begin
            {Pid, Name, OwnersApplication} = Describe(Owner),
            {Address, Number, Pid, Name, OwnersApplication, maps:get(Number, Connected, 0)}
        end
     || {{Address, Number}, Owner} <- lists:sublist(lists:usort(Listening), MaxListening)
    ],
    length(Ports) + length(Sockets),
    CountedPorts + CountedSockets
}
