%% Walk through offline_msg and add up. What is interpreted runs once for a chunk; what runs for each of ten million
%% rows is compiled: match specifications, and functions of the standard library.
%%
%% Top: how many of the keys with the most rows to find.
%%
%% Answers {Rows, Messages, Bytes, Oldest, Keys, Users, Simple, [{Rows, Key}]}: what was added up so far; the least
%% timestamp; whether no user has several keys; the keys with the most rows, the largest last.
IsBare = [{{'_', '$1', '_', '_'}, [{is_binary, '$1'}], [true]}],
IsHigher = [{{'_', {'_', '$1'}, '_', '_'}, [{'>', '$1', 0}], [true]}],
Rows = [
    {{'_', '$1', '$3', '$4'}, [{is_binary, '$4'}], [{{'$1', '$3', {size, '$4'}}}]},
    {{'_', '$1', '$3', '$4'}, [], [{{'$1', '$3', {{'$4'}}}}]}
],
Start = fun() ->
    %% The keys are counted as they pass; and so are the users, where a user has one key only.
    {Bare, Simple} = case Count(IsBare ++ IsHigher) of
        0 -> {false, true};
        unknown -> {true, false};
        _ ->
            case Count(IsBare) of
                0 -> {false, false};
                Number -> {true, Number =:= mnesia:table_info(offline_msg, size)}
            end
    end,
    %% Words that every node knows. Of the keys, known: ended a chunk; raw: there are bare ones; high: those
    %% with the most rows, and low: how many the last of these has. user: a number of users.
    #{
        at => First(Rows), rows => 0, messages => 0, bytes => 0, first => infinity, keys => 0, user => 0, known => #{},
        raw => Bare, simple => Simple, high => gb_sets:new(), low => 0
    }
end,
%% A user counts where the first of the user's keys is met.
IsFirst = fun(Key) ->
    Before = case Key of
        {User, Bucket} when is_integer(Bucket) -> [User | [{User, B} || B <- lists:seq(0, min(Bucket, AtMost) - 1)]];
        _ -> []
    end,
    lists:all(fun(Other) -> Stamps(Other) =:= [] end, Before)
end,
IsZero = ets:match_spec_compile([{{'_', 0}, [], [true]}]),
NotZero = ets:match_spec_compile([{{'_', 0}, [], [false]}, {'$1', [], ['$1']}]),
Users = fun
    (Keys, #{simple := true}) ->
        length(Keys);
    (Keys, #{raw := true}) ->
        length(lists:filter(IsFirst, Keys));
    (Keys, _) ->
        Others = [Key || Key <- ets:match_spec_run(Keys, NotZero), Key =/= false],
        length(ets:match_spec_run(Keys, IsZero)) + length(lists:filter(IsFirst, Others))
end,
Consider = fun(Key, {Best, Least}) ->
    case length(Stamps(Key)) of
        Few when Few =< Least ->
            {Best, Least};
        Number ->
            Better = gb_sets:add({Number, Key}, Best),
            case gb_sets:size(Better) > Top of
                true ->
                    {_, Rest} = gb_sets:take_smallest(Better),
                    {Rest, element(1, gb_sets:smallest(Rest))};
                false ->
                    {Better, Least}
            end
    end
end,
Same = ets:match_spec_compile([{{'$1', '$1'}, [], ['$1']}]),
%% A key with more rows than the least of the best is met again so many rows further on, unless the chunk ends before.
Frequent = fun
    (Keys, Ends, 0) ->
        lists:usort(Ends ++ Keys);
    (Keys, Ends, Least) when Least < length(Keys) ->
        Ahead = lists:nthtail(Least, Keys),
        lists:usort(Ends ++ ets:match_spec_run(lists:zip(lists:sublist(Keys, length(Ahead)), Ahead), Same));
    (_, Ends, _) ->
        Ends
end,
Add = fun(Found, #{rows := R, messages := M, bytes := B, first := O, keys := K, user := U, known := Ends} = State) ->
    {Keys, Times, Sizes} = lists:unzip3(Found),
    {M1, B1} =
        try
            {length(Sizes), lists:sum(Sizes)}
        catch
            error:_ ->
                Sum = fun
                    ({Message}, {Ms, Bs}) -> {Ms1, Bs1} = Measure(Message), {Ms + Ms1, Bs + Bs1};
                    (Bytes, {Ms, Bs}) -> {Ms + 1, Bs + Bytes}
                end,
                lists:foldl(Sum, {0, 0}, Sizes)
        end,
    All = maps:from_keys(Keys, []),
    New = maps:without(maps:keys(maps:intersect(Ends, All)), All),
    Outer = lists:usort([hd(Keys), lists:last(Keys)]),
    #{high := Best, low := Least} = State,
    %% Where nearly all keys are different, none is frequent.
    Candidates = case length(Keys) - map_size(All) >= Least of true -> Frequent(Keys, Outer, Least); false -> Outer end,
    {Better, Higher} = lists:foldl(Consider, {Best, Least}, Candidates),
    State#{
        rows := R + length(Keys), messages := M + M1, bytes := B + B1, first := min(O, lists:min(Times)),
        keys := K + map_size(New), user := U + Users(maps:keys(New), State),
        known := maps:merge(Ends, maps:from_keys(Outer, [])), high := Better, low := Higher
    }
end,
Step = fun(#{at := At} = State) ->
    case At of
        '$end_of_table' ->
            {done, State};
        {[], More} ->
            {more, State#{at := Next(More)}};
        {Found, More} ->
            Added = Add(Found, State),
            {more, Added#{at := Next(More)}}
    end
end,
Report = fun(#{rows := R, messages := M, bytes := B, first := O, keys := K, user := U} = State) ->
    #{simple := Simple, high := Best} = State,
    {{R, M, B, O, K, U, Simple, gb_sets:to_list(Best)}, State}
end
