%% How often each of some messages is stored offline for a user.
%%
%% Keys: all keys of the user in offline_msg. Digests: MD5 of the messages asked for.
%%
%% Gives #{Digest => Count}, without those that are not stored.
Count = fun
    (Payload, Counts) when is_binary(Payload) ->
        Digest = erlang:md5(Payload),
        case lists:member(Digest, Digests) of
            true -> maps:update_with(Digest, fun(N) -> N + 1 end, 1, Counts);
            false -> Counts
        end;
    (_, Counts) ->
        Counts
end,
lists:foldl(
    fun(Key, Counts) ->
        Payloads = [Msg || {_, _, _, Msg} <- mnesia:dirty_read(offline_msg, Key)],
        lists:foldl(Count, Counts, lists:flatten(Payloads))
    end,
    #{},
    Keys
)
