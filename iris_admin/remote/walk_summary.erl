%% Walk through offline_msg and add up. What is interpreted runs once for a chunk or for a sample; what runs for each of
%% ten million rows is compiled: match specifications, and functions of the standard library.
%%
%% Top: how many of the largest backlogs to find. Samples: how many rows to look at for those, so that a key with more
%% rows than the table has for each sample cannot be missed. Spread: how many buckets a user may have.
%%
%% Answers {Rows, Messages, Bytes, Oldest, Keys, Users, Stride, [{Rows, User}]}: what was added up so far; the least
%% timestamp; every how many rows one is sampled; the largest backlogs, the largest last.
IsBare = [{{'_', '$1', '_', '_'}, [{is_binary, '$1'}], [true]}],
IsHigher = [{{'_', {'_', '$1'}, '_', '_'}, [{'>', '$1', 0}], [true]}],
Rows = [
    {{'_', '$1', '$3', '$4'}, [{is_binary, '$4'}], [{{'$1', '$3', {size, '$4'}}}]},
    {{'_', '$1', '$3', '$4'}, [], [{{'$1', '$3', {{'$4'}}}}]}
],
Start = fun() ->
    Size0 = mnesia:table_info(offline_msg, size),
    %% Rows are next to each other where their keys are equal. So the keys are counted as they pass; and so are the
    %% users, where a user has one key only.
    Simple = case Count(IsBare ++ IsHigher) of
        0 -> true;
        _ -> Count(IsBare) =:= Size0
    end,
    #{
        at => First(Rows), rows => 0, messages => 0, bytes => 0, oldest => infinity, keys => 0, users => 0, ends => [],
        simple => Simple, stride => max(1, Size0 div Samples), phase => 1, run => {none, 0}, top => []
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
UserOf = fun({User, _}) -> User; (User) -> User end,
Consider = fun
    (none, _, Top0, _) ->
        Top0;
    (Key, Seen, Top0, #{simple := Simple, stride := Stride}) ->
        %% So many samples of a key leave room for fewer rows than this.
        AtMostRows = (Seen + 1) * Stride * case Simple of true -> 1; false -> Spread end,
        User = UserOf(Key),
        case length(Top0) >= Top andalso AtMostRows =< element(1, hd(Top0)) orelse lists:keymember(User, 2, Top0) of
            true ->
                Top0;
            false ->
                Keys = case Simple of true -> [Key]; false -> KeysOf(User) end,
                Total = lists:sum([length(Stamps(K)) || K <- Keys]),
                Sorted = lists:sort([{Total, User} | Top0]),
                lists:nthtail(max(0, length(Sorted) - Top), Sorted)
        end
end,
Sample = fun(Keys, #{stride := Stride, phase := Phase, run := Run0, top := Top0} = State) ->
    Tuple = list_to_tuple(Keys),
    Size0 = tuple_size(Tuple),
    Go = fun
        Go(I, Run, Best) when I > Size0 ->
            State#{phase := I - Size0, run := Run, top := Best};
        Go(I, {Key, Seen}, Best) ->
            case element(I, Tuple) of
                Key -> Go(I + Stride, {Key, Seen + 1}, Best);
                Other -> Go(I + Stride, {Other, 1}, Consider(Key, Seen, Best, State))
            end
    end,
    Go(Phase, Run0, Top0)
end,
Add = fun(Found, #{rows := R, messages := M, bytes := B, oldest := O, keys := K, users := U, ends := Ends} = State) ->
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
    %% A key may have begun in the chunk before.
    New = maps:without(Ends, maps:from_keys(Keys, [])),
    Users = case State of
        #{simple := true} -> map_size(New);
        _ -> length(lists:filter(IsFirst, maps:keys(New)))
    end,
    Sample(Keys, State#{
        rows := R + length(Keys), messages := M + M1, bytes := B + B1, oldest := min(O, lists:min(Times)),
        keys := K + map_size(New), users := U + Users, ends := [hd(Keys), lists:last(Keys)]
    })
end,
Step = fun(#{at := At} = State) ->
    case At of
        '$end_of_table' ->
            #{run := {Key, Seen}, top := Best} = State,
            {done, State#{run := {none, 0}, top := Consider(Key, Seen, Best, State)}};
        {[], More} ->
            {more, State#{at := Next(More)}};
        {Found, More} ->
            Added = Add(Found, State),
            {more, Added#{at := Next(More)}}
    end
end,
Report = fun(#{rows := R, messages := M, bytes := B, oldest := O, keys := K, users := U} = State) ->
    #{stride := Stride, top := Best} = State,
    {{R, M, B, O, K, U, Stride, Best}, State}
end
