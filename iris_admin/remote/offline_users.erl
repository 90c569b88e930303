%% Defines Users for walk_users.erl: the users of offline_msg, under keys of either scheme.
Users = fun(Holds) ->
    [
        {{'_', {'$1', '_'}, '_', '_'}, [{is_binary, '$1'} | Holds], ['$1']},
        {{'_', '$1', '_', '_'}, [{is_binary, '$1'} | Holds], ['$1']}
    ]
end
