%% The figures of a node. One evaluation costs the node less than a call for each figure.
%%
%% Items: what to ask erlang:system_info/1 for.
%%
%% Gives {Node, Values of the items, RunQueue, UptimeMs, Visible, Hidden, Applications}. An item that this release
%% does not know is undefined; so are the applications when their controller does not answer. We are not counted
%% among the hidden nodes: the group leader is ours.
{
    node(),
    [try erlang:system_info(Item) catch error:badarg -> undefined end || Item <- Items],
    erlang:statistics(total_run_queue_lengths),
    erlang:convert_time_unit(erlang:monotonic_time() - erlang:system_info(start_time), native, millisecond),
    length(nodes(visible)),
    length(nodes(hidden) -- [node(group_leader())]),
    try application:which_applications() catch exit:{timeout, _} -> undefined end
}
