%% What Mnesia is doing on this node.
%%
%% Items: for mnesia:system_info/1. Wait: for an answer of Mnesia's processes, in milliseconds.
%%
%% Gives {Values, Overloads, Transactions, Loading, Dumping, LogBytes, HeldLocks, QueuedLocks, Decisions, Downs}: of the
%% transactions {Coordinated, Participated}; how many tables are being loaded or sent; whether the log is being dumped;
%% the nodes that Mnesia holds for down. What cannot be told is undefined.
Values = [try mnesia:system_info(Item) catch exit:_ -> undefined end || Item <- Items],
Overloads = try mnesia_lib:overload_read() catch error:_ -> undefined end,
Transactions =
    case mnesia_tm:get_info(Wait) of
        {info, Participants, Coordinators} -> {length(Coordinators), length(Participants)};
        _ -> undefined
    end,
{Loading, Dumping} =
    case mnesia_controller:get_workers(Wait) of
        {workers, Loaders, Senders, Dumper} -> {length(Loaders) + length(Senders), Dumper =/= undefined};
        _ -> {undefined, undefined}
    end,
Log = filename:join(mnesia:system_info(directory), "LATEST.LOG"),
{
    Values,
    Overloads,
    Transactions,
    Loading,
    Dumping,
    case mnesia:system_info(use_dir) of true -> filelib:file_size(Log); false -> undefined end,
    ets:info(mnesia_held_locks, size),
    ets:info(mnesia_lock_queue, size),
    ets:info(mnesia_decision, size),
    mnesia_recover:get_mnesia_downs()
}
