%% What this node is made of: release, limits, applications with their versions and environments. Nothing is changed.
%%
%% Items: for erlang:system_info/1. MaxEnvironment: leave out the environment of an application that is larger, in
%% bytes of the external term format.
%%
%% Gives {Node, [Value], [{Application, Version, IsRunning, Environment}]}; what cannot be told is undefined.
Running = try [Name || {Name, _, _} <- application:which_applications(2000)] catch exit:_ -> [] end,
{
    node(),
    [try erlang:system_info(Item) catch error:badarg -> undefined end || Item <- Items],
    [
        {
            Name,
            Version,
            lists:member(Name, Running),
            begin
                Environment = application:get_all_env(Name),
                case erlang:external_size(Environment) =< MaxEnvironment of
                    true -> Environment;
                    false -> undefined
                end
            end
        }
     || {Name, _, Version} <- application:loaded_applications()
    ]
}
