%% Defines Users for walk_users.erl: the users of offline_msg, under keys of either scheme.
%%
%% Guards: of a match specification, on the user as '$1'.
Users = [
    {{'_', {'$1', '_'}, '_', '_'}, [{is_binary, '$1'} | Guards], ['$1']},
    {{'_', '$1', '_', '_'}, [{is_binary, '$1'} | Guards], ['$1']}
]
