%% Who holds locks of Mnesia's on this node, and who waits for one. No row is read.
%%
%% MaxLocks: if there are more, only count them, for Mnesia hands out all or none. N: show so many of each kind.
%% MaxKey: leave out a key that is larger than so many bytes in the external format.
%%
%% Gives {HeldCount, WaitingCount, Held, Waiting, Tables}: of the first two kinds [{Table, Key, Operation, Serial, Pid}],
%% where Key is {value, Key} or {big, Bytes}, or undefined where they were only counted; and
%% [{Table, HeldCount, WaitingCount}].
process_flag(max_heap_size, #{size => 16000000, kill => true, error_logger => false}),
HeldCount = ets:info(mnesia_held_locks, size),
WaitingCount = ets:info(mnesia_lock_queue, size),
Show = fun({Table, Key}, Operation, {tid, Serial, Pid}) ->
    Size = erlang:external_size(Key),
    {Table, case Size > MaxKey of true -> {big, Size}; false -> {value, Key} end, Operation, Serial, Pid}
end,
Count = fun(Locks, Position, Tables) ->
    lists:foldl(
        fun(Lock, Counts) ->
            Table = element(1, element(1, Lock)),
            Now = maps:get(Table, Counts, {0, 0}),
            Counts#{Table => setelement(Position, Now, element(Position, Now) + 1)}
        end,
        Tables,
        Locks
    )
end,
case HeldCount + WaitingCount > MaxLocks of
    true ->
        {HeldCount, WaitingCount, undefined, undefined, []};
    false ->
        Held = mnesia:system_info(held_locks),
        Waiting = mnesia:system_info(lock_queue),
        {
            length(Held),
            length(Waiting),
            [Show(Lock, Operation, Tid) || {Lock, Operation, Tid} <- lists:sublist(Held, N)],
            [Show(Lock, Operation, Tid) || {Lock, Operation, _, Tid, _} <- lists:sublist(Waiting, N)],
            [
                {Table, HeldThere, WaitingThere}
             || {Table, {HeldThere, WaitingThere}} <- maps:to_list(Count(Waiting, 2, Count(Held, 1, #{})))
            ]
        }
end
