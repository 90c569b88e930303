%% How much is stored for each of some users, without their messages.
%%
%% Users: the users. MaxHeap: of this process, in words; the node ends the process rather than itself.
%%
%% Gives [{User, Rows, Messages, Bytes, Oldest, Newest, NumberOfKeys, HasBareKey, Terms}]; the timestamps of no row
%% are undefined; the last is the number of messages that are no binaries.
process_flag(max_heap_size, #{size => MaxHeap, kill => true, error_logger => false}),
Describe = fun(User) ->
    ByKey = [{Key, Times} || Key <- KeysOf(User), Times <- [Stamps(Key)], Times =/= []],
    All = lists:append([Times || {_, Times} <- ByKey]),
    Stored = [Message || {Key, _} <- ByKey, Message <- Messages(Key)],
    Measured = lists:map(Measure, Stored),
    {
        User,
        length(All),
        lists:sum([M || {M, _} <- Measured]),
        lists:sum([B || {_, B} <- Measured]),
        case All of [] -> undefined; _ -> lists:min(All) end,
        case All of [] -> undefined; _ -> lists:max(All) end,
        length(ByKey),
        lists:keymember(User, 1, ByKey),
        length([P || Message <- Stored, not is_binary(Message), P <- Unpack(Message), not is_binary(P)])
    }
end,
lists:map(Describe, Users)
