%% How much is stored for each of some users, without their messages.
%%
%% Users: the users. MaxHeap: of this process, in words; the node ends the process rather than itself.
%%
%% Gives [{User, Rows, Messages, Bytes, Oldest, Newest, NumberOfKeys, HasBareKey}]; the timestamps of no row are
%% undefined.
process_flag(max_heap_size, #{size => MaxHeap, kill => true, error_logger => false}),
Describe = fun(User) ->
    ByKey = [{Key, Times} || Key <- KeysOf(User), Times <- [Stamps(Key)], Times =/= []],
    All = lists:append([Times || {_, Times} <- ByKey]),
    Measured = [Measure(Message) || {Key, _} <- ByKey, Message <- Messages(Key)],
    {
        User,
        length(All),
        lists:sum([M || {M, _} <- Measured]),
        lists:sum([B || {_, B} <- Measured]),
        case All of [] -> undefined; _ -> lists:min(All) end,
        case All of [] -> undefined; _ -> lists:max(All) end,
        length(ByKey),
        lists:keymember(User, 1, ByKey)
    }
end,
lists:map(Describe, Users)
