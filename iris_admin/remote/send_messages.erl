%% Hand messages to a client's connection process as the delivery path does, one at a time: the next is sent when
%% the process no longer holds the last without an acknowledgement. (An edge takes everything behind the first
%% acknowledgement of a TCP segment for a part of it, so that of several under way most would count as unanswered.)
%%
%% Pid: the connection process, on this node. Payloads: binaries. Within: how long to wait for one acknowledgement,
%% Total: for all of them, Wait: for the process's state, all in milliseconds. Busy: with so many messages held
%% already nothing is sent, for an edge has lost messages of a process that held hundreds.
%%
%% Gives {Released, Next}: how many messages the process released, and what stopped the one behind them: done (there
%% is none), pending (the time is over, it was not sent), waiting (it is still held), unknown (sent, but the process did
%% not show its state afterwards), noproc (not sent, the process has ended), or {busy, Held}.
Held = fun() ->
    {_, Data} = sys:get_state(Pid, Wait),
    hd([Field || Field <- tuple_to_list(Data), is_map(Field)])
end,
Now = fun() -> erlang:monotonic_time(millisecond) end,
Release = fun Release(MessageIds, Deadline, Pause) ->
    case maps:with(MessageIds, Held()) of
        None when map_size(None) =:= 0 ->
            ok;
        _ ->
            case Now() < Deadline of
                true ->
                    timer:sleep(Pause),
                    Release(MessageIds, Deadline, min(2 * Pause, 100));
                false ->
                    waiting
            end
    end
end,
Send = fun(Payload, Before) ->
    Pid ! {deliver_msg, Payload},
    try
        New = maps:without(maps:keys(Before), Held()),
        Release([MessageId || {MessageId, Entry} <- maps:to_list(New), element(1, Entry) =:= Payload], Now() + Within, 1)
    catch
        exit:_ -> unknown
    end
end,
End = Now() + Total,
Each = fun
    Each([], Released) ->
        {Released, done};
    Each([Payload | Rest], Released) ->
        case Now() < End of
            false ->
                {Released, pending};
            true ->
                case try Held() catch exit:_ -> noproc end of
                    noproc ->
                        {Released, noproc};
                    Before when map_size(Before) >= Busy ->
                        {Released, {busy, map_size(Before)}};
                    Before ->
                        case Send(Payload, Before) of
                            ok -> Each(Rest, Released + 1);
                            Stopped -> {Released, Stopped}
                        end
                end
        end
end,
Each(Payloads, 0).
