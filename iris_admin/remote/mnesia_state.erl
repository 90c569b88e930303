%% What Mnesia is doing on this node.
%%
%% Items: for mnesia:system_info/1. Wait: for an answer of Mnesia's processes, in milliseconds.
%%
%% Gives {Values, Overloads, Transactions, Loading, Dumping, LogBytes, HeldLocks, QueuedLocks, Decisions, Downs}: of the
%% transactions {Coordinated, Participated}; how many tables are being loaded or sent; whether the log is being dumped;
%% the nodes that Mnesia holds for down. What cannot be told is undefined: some of the functions are Mnesia's own, and
%% another release may not have them.
Values = [try mnesia:system_info(Item) catch exit:_ -> undefined end || Item <- Items],
Try = fun(Function) -> try Function() catch _:_ -> undefined end end,
Transactions =
    case Try(fun() -> mnesia_tm:get_info(Wait) end) of
        {info, Participants, Coordinators} -> {length(Coordinators), length(Participants)};
        _ -> undefined
    end,
{Loading, Dumping} =
    case Try(fun() -> mnesia_controller:get_workers(Wait) end) of
        {workers, Loaders, Senders, Dumper} -> {length(Loaders) + length(Senders), Dumper =/= undefined};
        _ -> {undefined, undefined}
    end,
%% The table has a serial number, chosen nodes and nodes that are down as well.
Decision = [{'$1', [{'=:=', {element, 1, '$1'}, decision}], [true]}],
Log = filename:join(mnesia:system_info(directory), "LATEST.LOG"),
{
    Values,
    Try(fun mnesia_lib:overload_read/0),
    Transactions,
    Loading,
    Dumping,
    case mnesia:system_info(use_dir) of true -> filelib:file_size(Log); false -> undefined end,
    ets:info(mnesia_held_locks, size),
    ets:info(mnesia_lock_queue, size),
    Try(fun() -> ets:select_count(mnesia_decision, Decision) end),
    Try(fun mnesia_recover:get_mnesia_downs/0)
}
