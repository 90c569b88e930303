%% The code that this node runs of its applications: the MD5 of each module that is loaded. Nothing is loaded for it.
%%
%% Max: report no more modules.
%%
%% Gives {Cut, [{Module, MD5}]}.
Applications = [Name || {Name, _, _} <- application:loaded_applications()],
Modules = lists:usort(lists:append([
    case application:get_key(Name, modules) of {ok, Names} -> Names; undefined -> [] end
 || Name <- Applications
])),
Loaded = [Module || Module <- Modules, erlang:module_loaded(Module)],
{
    length(Loaded) > Max,
    [{Module, try Module:module_info(md5) catch error:_ -> undefined end} || Module <- lists:sublist(Loaded, Max)]
}
