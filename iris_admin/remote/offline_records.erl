%% A page of a user's records in offline_msg, oldest first, and how much there is in all. Nothing is changed.
%%
%% User: the user. AtLeast, AtMost: read that many buckets whatever user_meta says. Last: the last record of the page
%% before, or none. MaxRows, MaxBytes: of the page; one record is in it however large it is. MaxHeap: of this
%% process, in words; the node ends the process rather than itself.
%%
%% Gives {BucketCount, LastSeen, Found, Page, More, BytesLeft}: what user_meta and user_status say, or undefined; for
%% each key that has records {Key, {Records, Messages, PayloadBytes}}, or [] for a later page; the page; how many
%% records there are behind it; what the page left of MaxBytes.
process_flag(max_heap_size, #{size => MaxHeap, kill => true, error_logger => false}),
%% Not every deployment has these two tables.
Known = fun(Table) ->
    try mnesia:dirty_read(Table, User) of
        [Row | _] -> element(3, Row);
        [] -> undefined
    catch
        exit:_ -> undefined
    end
end,
BucketCount = Known(user_meta),
Wanted = if is_integer(BucketCount) -> BucketCount; true -> 1 end,
Buckets = min(max(Wanted, AtLeast), AtMost),
%% Older deployments have the bare user as the key.
Keys = [User | [{User, Bucket} || Bucket <- lists:seq(0, Buckets - 1)]],
ByKey = [{Key, Rows} || Key <- Keys, Rows <- [mnesia:dirty_read(offline_msg, Key)], Rows =/= []],
Size = fun
    (Payload) when is_binary(Payload) -> byte_size(Payload);
    (Payload) -> erlang:external_size(Payload)
end,
Count = fun(Row, {Records, Messages, Bytes}) ->
    case element(4, Row) of
        Batch when is_list(Batch) ->
            Payloads = try lists:flatten(Batch) catch error:_ -> [Batch] end,
            {Records + 1, Messages + length(Payloads), Bytes + lists:sum([Size(Payload) || Payload <- Payloads])};
        Payload ->
            {Records + 1, Messages + 1, Bytes + Size(Payload)}
    end
end,
Found = case Last of
    none -> [{Key, lists:foldl(Count, {0, 0, 0}, Rows)} || {Key, Rows} <- ByKey];
    _ -> []
end,
%% By time, then by the whole record: a total order, for the records of a bag differ.
Sorted = lists:keysort(3, lists:sort(lists:append([Rows || {_, Rows} <- ByKey]))),
Rest = case Last of
    none -> Sorted;
    _ -> lists:dropwhile(fun(Row) -> {element(3, Row), Row} =< {element(3, Last), Last} end, Sorted)
end,
Take = fun
    Take([Row | Rows], N, Bytes, Page) when N > 0, Bytes > 0 ->
        Take(Rows, N - 1, Bytes - erlang:external_size(Row), [Row | Page]);
    Take(Rows, _, Bytes, Page) ->
        {lists:reverse(Page), length(Rows), Bytes}
end,
{Page, More, BytesLeft} = Take(Rest, MaxRows, MaxBytes, []),
{BucketCount, Known(user_status), Found, Page, More, BytesLeft}
