%% Defines Users for walk_users.erl: the users of a presence table.
%%
%% Guards: of a match specification, on the user as '$1'.
Users = case Where of
    edge -> [{{'$1', '_'}, [{is_binary, '$1'} | Guards], ['$1']}];
    core -> Entries([{is_binary, '$1'} | Guards], '$1')
end
