%% First part of what looks through offline_msg: how to get at its rows. Nothing is changed.
%%
%% AtLeast, AtMost: the buckets of a user that are looked into, whatever user_meta says.
%%
%% Rows with equal keys are next to each other in a chunk. Where they are in several chunks, they are at one of the ends
%% of each; those chunks need not follow one another.
%%
%% Defines Table and InEts for table_chunks.erl; Count, which counts the rows that match; KeysOf a user; Stamps and
%% Messages of a key; Measure, which gives the number and the bytes of a row's messages.
Table = offline_msg,
Storage = mnesia:table_info(offline_msg, storage_type),
%% The same table, without Mnesia's detours; the rows of a table on disc only are somewhere else.
InEts = lists:member(Storage, [ram_copies, disc_copies]),
Count = fun(Pattern) ->
    case InEts of
        true -> ets:select_count(offline_msg, Pattern);
        false -> unknown
    end
end,
Elements = fun(Key, Position) ->
    case InEts of
        true -> try ets:lookup_element(offline_msg, Key, Position) catch error:badarg -> [] end;
        false -> [element(Position, Row) || Row <- mnesia:dirty_read(offline_msg, Key)]
    end
end,
Stamps = fun(Key) -> Elements(Key, 3) end,
Messages = fun(Key) -> Elements(Key, 4) end,
KeysOf = fun(User) ->
    Known =
        try mnesia:dirty_read(user_meta, User) of
            [Row | _] -> element(3, Row);
            [] -> 1
        catch
            exit:_ -> 1
        end,
    Buckets = if is_integer(Known) -> min(max(Known, AtLeast), AtMost); true -> AtLeast end,
    [User | [{User, Bucket} || Bucket <- lists:seq(0, Buckets - 1)]]
end,
Unpack = fun
    (Batch) when is_list(Batch) -> try lists:flatten(Batch) catch error:_ -> [Batch] end;
    (Payload) -> [Payload]
end,
Size = fun
    (Payload) when is_binary(Payload) -> byte_size(Payload);
    (Payload) -> erlang:external_size(Payload)
end,
Measure = fun
    (Payload) when is_binary(Payload) ->
        {1, byte_size(Payload)};
    (Message) ->
        Payloads = Unpack(Message),
        {length(Payloads), lists:sum([Size(Payload) || Payload <- Payloads])}
end
