%% Have a walk go on for a slice: see walker.erl.
%%
%% Walker: its process.
%%
%% Gives {more | done, Answer}, {error, {Class, Reason}}, or {exited, Reason} for a process that has gone.
Ref = monitor(process, Walker),
Walker ! {next, self(), Ref},
receive
    {Ref, Answer} ->
        demonitor(Ref, [flush]),
        Answer;
    {'DOWN', Ref, process, _, Reason} ->
        {exited, Reason}
end
