%% Walk through a table for the users that come first in the order of their names.
%%
%% Before it, Users is defined: a fun that gives a match specification for the names, whose guards are to hold on '$1'.
%% Guards: those that select. Wanted: how many users.
%%
%% Answers their names, in order, as far as they are known.
Start = fun() -> #{at => First(Users(Guards)), first => [], bound => none} end,
%% Of the names that come, nearly all are soon behind the last of the best.
Add = fun(Names, #{first := Best, bound := Below} = State) ->
    Candidates = case Below of none -> Names; _ -> ets:match_spec_run(Names, Below) end,
    case lists:usort(Candidates) of
        [] ->
            State;
        New ->
            case lists:sublist(lists:umerge(New, Best), Wanted) of
                Better when length(Better) < Wanted ->
                    State#{first := Better};
                Better ->
                    Bound = [{'<', '$1', {const, lists:last(Better)}}],
                    State#{first := Better, bound := ets:match_spec_compile([{'$1', Bound, ['$1']}])}
            end
    end
end,
Step = fun(#{at := At} = State) ->
    case At of
        '$end_of_table' ->
            {done, State};
        {Found, More} ->
            Added = Add(Found, State),
            {more, Added#{at := Next(More)}}
    end
end,
Report = fun(#{first := Best} = State) -> {Best, State} end
