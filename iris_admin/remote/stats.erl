%% The figures of a node. One evaluation costs the node less than a call for each figure.
%%
%% Items: what to ask erlang:system_info/1 for. Counters: what to ask erlang:statistics/1 for. MaxLinks: report no more
%% links to other nodes.
%%
%% Gives {Node, Values of the items, Values of the counters, UptimeMs, Visible, Hidden, Applications, Links}. An item
%% that this release does not know is undefined; so are the applications when their controller does not answer. We are
%% not counted among the hidden nodes and links: the group leader is ours.
Links = fun(Row) ->
    Node = element(2, Row),
    %% The port is somewhere in the row. A link over TLS has none: a process writes there.
    case [Port || Port <- tuple_to_list(Row), is_port(Port)] of
        [Port | _] ->
            Get = fun(Function, Options) ->
                case inet:Function(Port, Options) of
                    {ok, Found} -> [proplists:get_value(Option, Found) || Option <- Options];
                    _ -> [undefined || _ <- Options]
                end
            end,
            Queue = case erlang:port_info(Port, queue_size) of {_, Size} -> Size; undefined -> undefined end,
            [{Node, Queue, Get(getopts, [high_watermark]), Get(getstat, [recv_oct, send_oct])}];
        [] ->
            [{Node, undefined, [undefined], [undefined, undefined]}]
    end
end,
Ours = node(group_leader()),
Hidden = nodes(hidden),
{
    node(),
    [try erlang:system_info(Item) catch error:badarg -> undefined end || Item <- Items],
    [try erlang:statistics(Counter) catch error:badarg -> undefined end || Counter <- Counters],
    erlang:convert_time_unit(erlang:monotonic_time() - erlang:system_info(start_time), native, millisecond),
    length(nodes(visible)),
    length(Hidden -- [Ours]),
    try application:which_applications() catch exit:{timeout, _} -> undefined end,
    [
        {Name, lists:member(Name, Hidden), Queue, Limit, Octets}
     || Node <- lists:sublist(nodes(connected) -- [Ours], MaxLinks),
        Row <- ets:lookup(sys_dist, Node),
        {Name, Queue, [Limit], Octets} <- Links(Row)
    ]
}
