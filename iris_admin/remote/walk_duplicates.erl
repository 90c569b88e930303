%% Find messages that are stored more than once for the same user. In a walk through the whole table, what is
%% interpreted runs once for a chunk, and for each user who may have such.
%%
%% Wanted: all users, or {user, User}. Top: how many of the messages to tell.
%%
%% Answers {Rows, Users, Groups, Surplus, SurplusBytes, [{Copies, User, Digest, Size, Oldest, Newest}]}: how many rows
%% were looked at; how many users have such messages, how many different ones, how many copies there are beyond the
%% first, and the most often stored ones, the last the most. Digest: of SHA-256, or undefined without crypto.
Pairs = [{{'_', '$1', '_', '$4'}, [], [{{'$1', '$4'}}]}],
%% The words are some that every node knows. known: the keys that ended a chunk; user, group, extra: numbers of users,
%% different messages and surplus copies; high: the most often stored ones.
Zero = #{at => none, floor => 0, known => #{}, rows => 0, user => 0, group => 0, extra => 0, bytes => 0, high => []},
Start = fun() ->
    case Wanted of
        all ->
            %% Where keys of both schemes are in use, a user's bare key and bucket 0 belong together, too.
            Bare = Count([{{'_', '$1', '_', '_'}, [{is_binary, '$1'}], [true]}]),
            Floor = case Bare =:= 0 orelse Bare =:= mnesia:table_info(offline_msg, size) of true -> 0; false -> -1 end,
            Zero#{at := First(Pairs), floor := Floor};
        _ -> Zero#{at := Wanted}
    end
end,
Digest = fun(Payload) ->
    Data = case is_binary(Payload) of true -> Payload; false -> term_to_binary(Payload, [{minor_version, 2}]) end,
    try binary:part(crypto:hash(sha256, Data), 0, 8) catch error:_ -> undefined end
end,
Group = fun({Payload, Time}, Groups) ->
    case Groups of
        #{Payload := {Copies, Oldest, Newest}} ->
            Groups#{Payload := {Copies + 1, min(Oldest, Time), max(Newest, Time)}};
        _ ->
            Groups#{Payload => {1, Time, Time}}
    end
end,
Check = fun(User, Stored, State) ->
    #{user := U, group := G, extra := S, bytes := B, high := Best} = State,
    All = [
        {Payload, element(3, Row)}
     || Key <- Stored, Row <- mnesia:dirty_read(offline_msg, Key), Payload <- Unpack(element(4, Row))
    ],
    case map_size(maps:from_keys([Payload || {Payload, _} <- All], [])) =:= length(All) of
        true ->
            State;
        false ->
            Several = [
                {Copies, User, Payload, Size(Payload), Oldest, Newest}
             || {Payload, {Copies, Oldest, Newest}} <- maps:to_list(lists:foldl(Group, #{}, All)), Copies > 1
            ],
            Ranked = lists:keysort(1, Best ++ [setelement(3, Found, Digest(element(3, Found))) || Found <- Several]),
            State#{
                user := U + 1,
                group := G + length(Several),
                extra := S + lists:sum([Copies - 1 || {Copies, _, _, _, _, _} <- Several]),
                bytes := B + lists:sum([(Copies - 1) * Bytes || {Copies, _, _, Bytes, _, _} <- Several]),
                high := lists:nthtail(max(0, length(Ranked) - Top), Ranked)
            }
    end
end,
StoredKeys = fun(User) -> [Key || Key <- KeysOf(User), Stamps(Key) =/= []] end,
%% A user with several keys counts at the last of them, which is one with a bucket above the floor.
CheckAt = fun(Key, State) ->
    User = case Key of {Name, _} -> Name; _ -> Key end,
    case StoredKeys(User) of
        [] -> State;
        Stored -> case lists:last(Stored) of Key -> Check(User, Stored, State); _ -> State end
    end
end,
Select = fun(List, Head, Guards, Body) ->
    ets:match_spec_run(List, ets:match_spec_compile([{Head, Guards, [Body]}]))
end,
Add = fun(Found, #{known := Known, floor := Floor, rows := R} = State) ->
    %% The rows of a key at an end may be in several chunks, so it is looked at as a whole, once.
    Ends = maps:from_keys([element(1, hd(Found)), element(1, lists:last(Found))], []),
    Before = maps:keys(maps:intersect(Known, maps:from_keys([Key || {Key, _} <- Found], []))),
    Inner = [{'=/=', '$1', {const, Key}} || Key <- lists:usort(maps:keys(Ends) ++ Before)],
    Whole = Select(Found, {'$1', '_'}, Inner, '$_'),
    Different = maps:from_keys(Whole, []),
    Twice = case map_size(Different) =:= length(Whole) of
        true -> [];
        false -> [Key || {Key, _} <- Whole -- maps:keys(Different)]
    end,
    Batches = Select(Whole, {'$1', '$2'}, [{is_list, '$2'}], '$1'),
    Higher = Select(Whole, {{'_', '$1'}, '_'}, [{'>', '$1', Floor}], {element, 1, '$_'}),
    Candidates = lists:usort((maps:keys(Ends) -- Before) ++ Twice ++ Batches ++ Higher),
    lists:foldl(CheckAt, State#{known := maps:merge(Known, Ends), rows := R + length(Found)}, Candidates)
end,
Step = fun(#{at := At} = State) ->
    case At of
        '$end_of_table' ->
            {done, State};
        {user, User} ->
            Stored = StoredKeys(User),
            Total = lists:sum([length(Stamps(Key)) || Key <- Stored]),
            {done, Check(User, Stored, State#{rows := Total})};
        {[], More} ->
            {more, State#{at := Next(More)}};
        {Found, More} ->
            Added = Add(Found, State),
            {more, Added#{at := Next(More)}}
    end
end,
Report = fun(#{rows := R, user := U, group := G, extra := S, bytes := B, high := Best} = State) ->
    {{R, U, G, S, B, Best}, State}
end
