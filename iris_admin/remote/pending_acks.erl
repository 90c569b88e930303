%% What connection processes hold without an acknowledgement. Only numbers leave this node.
%%
%% Pids: connection processes of this node. Wait: for the state of each, in milliseconds. Busy: a process in whose
%% mailbox so many messages wait is not asked for more. MaxHeap: of this process, in words.
%%
%% Gives for each {MessageQueueLen, Pending}: the last is {Count, OldestAgeSeconds, Bytes}, the second of them undefined
%% where nothing is held; or busy, noproc, timeout, or unknown for a state of another form.
process_flag(max_heap_size, #{size => MaxHeap, kill => true, error_logger => false}),
Count = fun(Pending) ->
    Now = os:system_time(second),
    Sum = fun
        (_, {Msg, Sent, _}, {Oldest, Bytes}) when is_integer(Sent) ->
            {min(Oldest, Sent), Bytes + case is_binary(Msg) of true -> byte_size(Msg); false -> 0 end};
        (_, _, Sums) ->
            Sums
    end,
    case maps:fold(Sum, {undefined, 0}, Pending) of
        {undefined, Bytes} -> {map_size(Pending), undefined, Bytes};
        {Oldest, Bytes} -> {map_size(Pending), Now - Oldest, Bytes}
    end
end,
Ask = fun(Pid) ->
    try sys:get_state(Pid, Wait) of
        {_, Data} when is_tuple(Data) ->
            case [Field || Field <- tuple_to_list(Data), is_map(Field)] of
                [Pending | _] -> Count(Pending);
                [] -> unknown
            end;
        _ ->
            unknown
    catch
        exit:{timeout, _} -> timeout;
        exit:_ -> noproc
    end
end,
lists:map(
    fun(Pid) ->
        case process_info(Pid, message_queue_len) of
            {_, Length} when Length >= Busy -> {Length, busy};
            {_, Length} -> {Length, Ask(Pid)};
            undefined -> {undefined, noproc}
        end
    end,
    Pids
)
